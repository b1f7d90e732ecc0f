"""Pictures and sounds of an item, made ready to be sent."""

from lpt.captions.prepare import encoded
from lpt.evaluate.items import Media
from lpt.evaluate.load import Loaded, NoMedia
from lpt.evaluate.protocols import Protocol
from lpt.models.base import Image
from lpt.records import digest
from lpt.settings import CaptionSettings

_SOUNDS = ((b"RIFF", "wav"), (b"ID3", "mp3"), (b"\xff\xfb", "mp3"), (b"\xff\xf3", "mp3"))


def ready(media: Media, loaded: Loaded, protocol: Protocol) -> Image:
    """A picture, upright, RGB and downsized as the protocol says, as JPEG; a sound as it is. Call it in a thread.

    Raises:
        NoMedia: it cannot be had, or cannot be decoded.
    """
    data = loaded.data(media)
    if media.kind == "audio":
        form = next((form for start, form in _SOUNDS if data.startswith(start)), None)
        if form is None:
            raise NoMedia("unknown-audio: it is neither WAV nor MP3, which is what servers take")
        return Image(key=digest("audio", data), data=data, media_type=f"audio/{form}")
    settings = CaptionSettings(
        max_pixels=protocol.max_pixels, longest_side=protocol.longest_side, quality=protocol.quality
    )
    try:
        return encoded(data, "the picture", digest("image", data), settings)
    except ValueError as error:
        raise NoMedia(f"broken-image: {error}") from error
