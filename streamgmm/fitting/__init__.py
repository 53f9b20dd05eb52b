"""The one loop of EM: passes, when they end, and the stages that follow each other."""
