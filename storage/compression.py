"""The four codecs of Kafka's batches, each with a bound on what it may unpack to.

The broker stores compressed bytes as sent unless a topic asks for a codec of its own; otherwise
these serve time look-up, our client and dump.
"""

import zlib
from enum import IntEnum
from typing import cast

import cramjam
import lz4.frame
import zstandard

from storage.errors import BatchTooLarge, CorruptBatch
from storage.types import Buffer


class Codec(IntEnum):
    """Bits 0 to 2 of a batch's attributes (Kafka, record batch v2)."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


XERIAL_MAGIC = b"\x82SNAPPY\x00"
XERIAL_HEADER_SIZE = 16
"""Magic, version and oldest compatible version (snappy-java's stream format)."""


def compress(codec: int, data: Buffer, level: int | None = None) -> bytes:
    """Return `data` in a form that every Kafka client reads.

    Args:
        codec: one of Codec.
        data: what is compressed.
        level: of gzip (1 to 9, -1 for zlib's own), lz4 (9 is the fast one, any other up to 17
            compresses better) or zstd (-131072 to 22); None stands for Kafka's default.
    """
    match codec:
        case Codec.NONE:
            return bytes(data)
        case Codec.GZIP:
            return zlib.compress(data, level=6 if level is None else level, wbits=31)
        case Codec.SNAPPY:
            # One raw block, as librdkafka sends it; Java falls back to it without the frame.
            return bytes(cramjam.snappy.compress_raw(data))
        case Codec.LZ4:
            # Java refuses dependent blocks (seen on Kafka 4.3.1). Level 9 is its fast compressor.
            return cast(
                bytes,
                lz4.frame.compress(
                    bytes(data),
                    compression_level=0 if level in (None, 9) else level,
                    block_linked=False,
                    store_size=False,
                ),
            )
        case Codec.ZSTD:
            return zstandard.ZstdCompressor(level=3 if level is None else level).compress(data)
        case _:
            raise ValueError(f"{codec} is not a codec")


def decompress(codec: int, data: Buffer, *, bytes_max: int) -> Buffer:
    """Return what was compressed.

    Raises:
        BatchTooLarge: it would be more than `bytes_max` bytes; no more than about that many
            are ever held.
        CorruptBatch: `data` is not what the codec writes, or the codec is none of Kafka's.
    """
    try:
        match codec:
            case Codec.NONE:
                plain: Buffer = data
            case Codec.GZIP:
                plain = _gunzip(data, bytes_max)
            case Codec.SNAPPY:
                plain = _unsnap(bytes(data), bytes_max)
            case Codec.LZ4:
                plain = _unlz4(data, bytes_max)
            case Codec.ZSTD:
                plain = _unzstd(data, bytes_max)
            case _:
                raise CorruptBatch(f"{codec} is not a codec")
    except (zlib.error, zstandard.ZstdError, RuntimeError, cramjam.DecompressionError) as error:
        raise CorruptBatch(f"{Codec(codec).name.lower()} data cannot be unpacked") from error
    if len(plain) > bytes_max:
        raise BatchTooLarge(f"the batch unpacks to more than {bytes_max} bytes")
    return plain


def _gunzip(data: Buffer, bytes_max: int) -> bytes:
    plain = b""
    rest: Buffer = data
    while rest and len(plain) <= bytes_max:  # A stream may have several members (RFC 1952).
        member = zlib.decompressobj(wbits=31)
        plain += member.decompress(rest, bytes_max + 1 - len(plain))
        if not member.eof and len(plain) <= bytes_max:
            raise CorruptBatch("gzip data ends too early")
        rest = member.unused_data
    return plain


def _unsnap(data: bytes, bytes_max: int) -> bytes:
    if not data.startswith(XERIAL_MAGIC):
        return _unsnap_block(data, bytes_max)
    blocks: list[bytes] = []
    total = 0
    position = XERIAL_HEADER_SIZE
    while position < len(data):
        begin = position + 4
        position = begin + int.from_bytes(data[position:begin], "big")
        if position > len(data):
            raise CorruptBatch("a snappy block ends too early")
        blocks.append(_unsnap_block(data[begin:position], bytes_max - total))
        total += len(blocks[-1])
    return b"".join(blocks)


def _unsnap_block(block: bytes, bytes_max: int) -> bytes:
    # The length is only a claim, but the decoder allocates it: look before.
    if cramjam.snappy.decompress_raw_len(block) > bytes_max:
        raise BatchTooLarge(f"the batch unpacks to more than {bytes_max} bytes")
    return bytes(cramjam.snappy.decompress_raw(block))


def _unlz4(data: Buffer, bytes_max: int) -> bytes:
    unpacker = lz4.frame.LZ4FrameDecompressor()
    plain = cast(bytes, unpacker.decompress(bytes(data), max_length=bytes_max + 1))
    if not unpacker.eof and len(plain) <= bytes_max:
        raise CorruptBatch("lz4 data ends too early")
    return plain


def _unzstd(data: Buffer, bytes_max: int) -> bytes:
    # Frames beyond the first, and frames without a size, are all legal (RFC 8878).
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read(bytes_max + 1)
