"""Fitted attributes of an estimator by name, as a user sees them."""


def fitted_attributes(model):
    names = [name for name in dir(model) if name.endswith("_") and not name.startswith("_")]
    return {name: getattr(model, name) for name in names if hasattr(model, name)}
