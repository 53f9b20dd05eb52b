"""Slides as scanners write them: TIFFs of JPEG tiles, several resolutions, and pictures of the glass.

A writer returns the decoded values of each level, by tifffile itself, since JPEG changes values a little.
"""

import io
import struct

import numpy as np
import tifffile
from PIL import Image

APERIO = "Aperio Image Library v11.2.1 \r\n"
LENGTH = 0.5  # micrometres: the side of a pixel at level 0
STEPS = (1, 2, 4)


def write_svs(path, values, *, photometric="rgb", compression="jpeg", mpp=LENGTH):
    """Write level 0, a thumbnail, the other levels, a label, and a picture of the whole glass."""
    lines, columns = values.shape[:2]
    whole = f"{APERIO}{columns}x{lines} [0,0 {columns}x{lines}] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = {mpp}|Left = 3"
    tiles = {"tile": (64, 64), "compression": compression, "photometric": photometric, "metadata": None}
    if photometric == "ycbcr":
        tiles |= {"subsampling": (1, 1)}
    strips = {"rowsperstrip": 16, "compression": "jpeg", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(values, description=whole, **tiles)
        file.write(values[::4, ::4], description=f"{APERIO}-> thumbnail", **strips)
        for step in STEPS[1:]:
            file.write(values[::step, ::step], description=f"{APERIO}-> level", **tiles)
        file.write(values[:30, :40], description=f"{APERIO}label 40x30", subfiletype=1, **strips)
        file.write(values[:30, :90], description=f"{APERIO}macro 90x30", subfiletype=9, **strips)
    return [tifffile.imread(path, series=0, level=level) for level in range(len(STEPS))]


def write_ndpi(path, values):
    """Write a JPEG for each level, with the offsets of its restart markers; offsets of the file have 64 bits."""
    body, pages = bytearray(b"II*\0" + bytes(8)), []
    for step in STEPS:
        jpeg, starts = _jpeg(values[::step, ::step])
        pages.append((values[::step, ::step].shape, len(body), len(jpeg), starts, 20.0 / step))
        body += jpeg
    jpeg, _ = _jpeg(values[:30, :90])
    pages.append(((30, 90, 3), len(body), len(jpeg), None, -1.0))  # the whole glass
    body += jpeg
    previous = 4  # where the offset of the next page goes
    for (lines, columns, _), offset, length, starts, magnification in pages:
        resolution = struct.pack("<II", round(1e4 / LENGTH * abs(magnification) / 20), 1)
        long = {257: lines, 256: columns, 273: offset, 278: lines, 279: length, 65420: 1}
        short = {259: 7, 262: 6, 277: 3, 284: 1, 296: 3}
        tags = {tag: (4, 1, struct.pack("<I", value)) for tag, value in long.items()}
        tags |= {tag: (3, 1, struct.pack("<H", value)) for tag, value in short.items()}
        tags |= {258: (3, 3, struct.pack("<HHH", 8, 8, 8)), 282: (5, 1, resolution), 283: (5, 1, resolution)}
        tags |= {271: (2, 10, b"Hamamatsu\0"), 65421: (11, 1, struct.pack("<f", magnification))}
        if starts is not None:
            tags |= {65426: (4, len(starts), struct.pack(f"<{len(starts)}I", *starts))}
        entries = bytearray()
        for tag, (kind, count, value) in sorted(tags.items()):
            if len(value) > 4:
                value, kept = struct.pack("<I", len(body)), value
                body += kept
            entries += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        body[previous : previous + 8] = struct.pack("<Q", len(body))
        previous = len(body) + 2 + len(entries)
        body += struct.pack("<H", len(tags)) + entries + bytes(8) + bytes(4 * len(tags))
    path.write_bytes(body)
    return [tifffile.imread(path, series=0, level=level) for level in range(len(STEPS))]


def _jpeg(values):
    """Return a JPEG with a restart marker per row of blocks, and the offsets after these markers."""
    written = io.BytesIO()
    options = {"quality": 80, "subsampling": 0, "restart_marker_blocks": -(-values.shape[1] // 8)}
    Image.fromarray(np.ascontiguousarray(values)).save(written, "JPEG", **options)
    jpeg = written.getvalue()
    scan = jpeg.index(b"\xff\xda")
    first = scan + 2 + struct.unpack(">H", jpeg[scan + 2 : scan + 4])[0]
    offsets = [
        index for index in range(first, len(jpeg) - 1) if jpeg[index] == 0xFF and 0xD0 <= jpeg[index + 1] <= 0xD7
    ]
    return jpeg, [first, *(index + 2 for index in offsets)]
