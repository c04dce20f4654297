"""Pictures, good and bad, made as they are needed."""

import functools
import io
import random
import struct
import zlib

from PIL import Image


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, data, bits=8, colours=2, extra=b""):
    """A PNG with this in its header, and this, whatever it is, for its pixels."""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)) + extra +
            chunk(b"IDAT", data) + chunk(b"IEND", b""))


def colourful(width, height, seed=1):
    """No two seeds give the same."""
    small = Image.new("RGB", (8, 6))
    rng = random.Random(seed)
    small.putdata([(rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(48)])
    return small.resize((width, height), Image.BICUBIC)


@functools.cache
def _black(side):
    return zlib.compress(bytes((3 * side + 1) * side), 1)


def laborious(seed=1, side=6000):
    """Soon made here; the service takes its time, as many pixels as it lets pass by default."""
    return png_of(side, side, _black(side), extra=chunk(b"tEXt", b"Comment\0" + str(seed).encode()))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(width=640, height=480, seed=1, **options):
    return saved(colourful(width, height, seed), "JPEG", **options)


def png(width=320, height=240, seed=1, **options):
    return saved(colourful(width, height, seed), "PNG", **options)


def oriented(orientation):
    """Red at the left and blue at the right, if it is held as it says."""
    turned = Image.new("RGB", (400, 300), "red")
    turned.paste("blue", (200, 0, 400, 300))
    back = {1: None, 3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation]
    stored = turned.transpose(back) if back is not None else turned
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, "JPEG", exif=exif, quality=95)


def with_scans(count):
    """A progressive JPEG that sends its first scan over and over."""
    bytes_ = saved(colourful(512, 512), "JPEG", progressive=True)
    begin = bytes_.index(b"\xff\xda")
    end = begin + 2
    while bytes_[end] != 0xFF or bytes_[end + 1] == 0:
        end += 1
    return bytes_[:end] + bytes_[begin:end] * count + bytes_[end:]


def hostile():
    """name: (bytes, status, part of the reason)"""
    good_jpeg = jpeg()
    good_png = png()
    frame = good_jpeg.index(b"\xff\xc0")
    return {
        "nothing": (b"", 422, "empty"),
        "text": (b"hello, world", 415, "neither"),
        "gif": (b"GIF89a" + bytes(100), 415, "neither"),
        "only a magic number": (b"\xff\xd8\xff", 422, ""),
        "zero bytes": (bytes(10000), 415, "neither"),
        "truncated jpeg": (good_jpeg[:len(good_jpeg) // 2], 422, "cut short"),
        "truncated png": (good_png[:len(good_png) // 2], 422, "cut short"),
        "jpeg header alone": (good_jpeg[:frame + 4], 422, ""),
        "png header alone": (good_png[:33], 422, "cut short"),
        "jpeg of 65500 x 65500": (good_jpeg[:frame + 5] + struct.pack(">HH", 65500, 65500) + good_jpeg[frame + 9:], 422,
                                  "65500 x 65500 pixels"),
        "png of 100000 x 100000": (png_of(100000, 100000, zlib.compress(bytes(1000))), 422, "pixels"),
        "png of 2^31 - 1 squared": (png_of(2**31 - 1, 2**31 - 1, b""), 422, ""),
        "png bomb": (png_of(20000, 20000, zlib.compress(bytes(20_000_000), 9)), 422, "20000 x 20000 pixels"),
        "png without pixels": (png_of(0, 10, b""), 422, ""),
        "png with garbage": (png_of(10, 10, b"\0" * 50), 422, ""),
        "png with too few rows": (png_of(10, 10, zlib.compress(bytes(31))), 422, ""),
        "png with a wrong checksum": (good_png[:40] + bytes([good_png[40] ^ 1]) + good_png[41:], 422, ""),
        "png with a bomb in a text": (png_of(4, 4, zlib.compress(bytes(52)),
                                             extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))), 201, ""),
        "jpeg with a thousand scans": (with_scans(1000), 422, "scans"),
        "jpeg with damaged pixels": (good_jpeg[:-2000] + b"\xff\xd0\xff\xd3" * 20 + good_jpeg[-1900:], 422, ""),
    }


def unusual():
    """name: bytes, of pictures that are fine"""
    image = colourful(640, 480)
    return {
        "cmyk jpeg": saved(image.convert("CMYK"), "JPEG"),
        "grey jpeg": saved(image.convert("L"), "JPEG"),
        "jpeg with a scan twice": with_scans(1),
        "progressive jpeg": saved(image, "JPEG", progressive=True),
        "palette png": saved(image.quantize(16), "PNG"),
        "palette png with transparency": saved(image.quantize(16), "PNG", transparency=0),
        "grey png": saved(image.convert("L"), "PNG"),
        "black and white png": saved(image.convert("1"), "PNG"),
        "16-bit png": png_of(640, 480, zlib.compress((b"\0" + bytes(range(256)) * 15) * 480), bits=16),
        "png with alpha": saved(image.convert("RGBA"), "PNG"),
        "one pixel": png_of(1, 1, zlib.compress(bytes(4))),
        "thin png": png(5000, 1),
    }
