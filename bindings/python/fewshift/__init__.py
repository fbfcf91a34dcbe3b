"""fewshift: ONNX image classifiers on the CPU, networks of sparse shifts above all.

    import fewshift
    model = fewshift.Model("model.onnx")
    for name, score, index in model.predict("photo.jpg"):
        print(f"{name} {score:.1%}")

fewshift.torch holds the shift layers for PyTorch and reads what `fewshift train` made; it is imported by itself.
"""
from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Union, overload

try:
    from ._fewshift import Engine as _Engine
    from ._fewshift import Error, isa, version
except ImportError as _missing:  # a source checkout: fewshift.torch works there all the same
    if _missing.name != f"{__name__}._fewshift":
        raise
else:
    __version__ = version()

    class PicturesError(Error):
        """Pictures of a list could not be read; the others' classes are in `results`, with an Error in each one's place."""

        def __init__(self, results: list[Union[list[Class], Error]]) -> None:
            bad = [(k, result) for k, result in enumerate(results) if isinstance(result, Error)]
            super().__init__(f"{len(bad)} of {len(results)} pictures cannot be read, first [{bad[0][0]}]: {bad[0][1]}")
            self.results = results

if TYPE_CHECKING:
    from typing import Literal, Protocol, Sequence

    import numpy
    from numpy.typing import NDArray

    class PilImage(Protocol):
        """A picture of Pillow's, which need not be there."""

        mode: str

        def convert(self, mode: str) -> Any: ...

    Picture = Union[str, os.PathLike[str], bytes, bytearray, memoryview, NDArray[numpy.uint8], PilImage]
    Pictures = Sequence[Picture]  # a list or tuple; list[Picture] would not take a list[str]

__all__ = ["Class", "Error", "Model", "PicturesError", "isa", "version"]


def _path(path: Any) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("a path has a null character in it")
    return encoded


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None


class Class(NamedTuple):
    """A class that a picture may belong to."""

    name: str
    score: float  # probability
    index: int


class Model:
    """An ONNX file, ready to run.

    model: the file's path, or its bytes.
    threads: of the arithmetic of one call; the calling thread is one of them.
    class_names: in place of those in the file, which else are numbers where it has none.
    file_bytes, memory_bytes: what the file and the activations of one call may take at most (2 GiB and 8 GiB): for
        files of strangers.

    Any number of threads may use one Model at a time; Python's lock is let go while it computes. Raises fewshift.Error
    for a file that is not there, not ONNX, cut off, or has an operator that is not computed here, which it names.
    """

    def __init__(
        self,
        model: Union[str, os.PathLike[str], bytes, bytearray, memoryview],
        *,
        threads: int = 1,
        class_names: Union[list[str], None] = None,
        file_bytes: int = 0,
        memory_bytes: int = 0,
    ) -> None:
        threads = _whole("threads", threads)
        if not 1 <= threads <= 1024:
            raise ValueError("threads must be from 1 to 1024")
        if isinstance(model, (bytes, bytearray, memoryview)):
            self._engine = _Engine.parse(bytes(model), threads, file_bytes, memory_bytes)
        elif isinstance(model, (str, os.PathLike)):
            if os.path.isdir(path := _path(model)):
                raise Error(
                    f"{os.fspath(model)}: is a folder, and the file of an exported model is wanted: "
                    f"fewshift export {os.fspath(model)} --out model.onnx"
                )
            self._engine = _Engine.open(path, threads, file_bytes, memory_bytes)
        else:
            raise TypeError(f"a model must be the path of an ONNX file or its bytes, not {type(model).__name__}")
        names = self._engine.class_names
        if class_names is not None:
            if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
                raise TypeError("class_names must be a list of str")
            if len(class_names) != len(names):
                raise ValueError(f"{len(class_names)} class names for {len(names)} classes")
            names = list(class_names)
        #: The names of the classes, in the order of the outputs; empty for what is no classifier of square RGB pictures.
        self.class_names: list[str] = names

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one picture: (1, C, H, W)."""
        return tuple(self._engine.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one picture: (1, classes) for a classifier."""
        return tuple(self._engine.output_shape)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How pictures become tensors: size, resize (px), mean, std (of RGB from 0 to 1), interpolation, decode."""
        import json

        return json.loads(self._engine.preprocessing or "{}")

    def metadata(self, key: str) -> str:
        """An entry of the file's metadata; "" where there is none."""
        return self._engine.metadata(key)

    @overload  # a str is a picture, though a sequence of them too: the first that fits counts
    def predict(  # type: ignore[overload-overlap,unused-ignore]
        self, pictures: Picture, top: int = 5, *, on_error: Literal["raise"] = "raise"
    ) -> list[Class]: ...
    @overload
    def predict(  # type: ignore[overload-overlap,unused-ignore]
        self, pictures: Picture, top: int = 5, *, on_error: Literal["return"]
    ) -> Union[list[Class], Error]: ...
    @overload
    def predict(
        self, pictures: Pictures, top: int = 5, *, on_error: Literal["raise"] = "raise"
    ) -> list[list[Class]]: ...
    @overload
    def predict(
        self, pictures: Pictures, top: int = 5, *, on_error: Literal["return"]
    ) -> list[Union[list[Class], Error]]: ...
    def predict(self, pictures: Any, top: int = 5, *, on_error: str = "raise") -> Any:
        """The `top` likeliest classes of a picture, the first the likeliest; of a list of pictures, a list of such.

        A picture is the path of a JPEG, PNG or WebP, the bytes of one (all turned upright by EXIF), a PIL
        image (likewise), or an array of uint8: [H,W], [H,W,1] (grey), [H,W,3] (RGB) or [H,W,4] (RGBA). A list is computed as one batch.

        Pictures that cannot be read do not hinder the others of a list: on_error="return" puts the fewshift.Error in
        such a picture's place; "raise" raises PicturesError, whose `results` are just that, once the others are done.
        """
        top = _whole("top", top)
        if top < 1:
            raise ValueError("top must be at least 1")
        if on_error not in ("raise", "return"):
            raise ValueError(f'on_error must be "raise" or "return", not {on_error!r}')
        many = isinstance(pictures, (list, tuple))
        results: list[Any] = []
        tensors = []
        for picture in pictures if many else [pictures]:
            try:
                tensors.append(self._one(picture))
                results.append(None)
            except Error as error:
                if not many and on_error == "raise":
                    raise
                results.append(error)
        if tensors:
            import numpy

            outputs = self._engine.run(numpy.concatenate(tensors), False)[0]
            found = (self._likeliest(*both, top) for both in zip(outputs, self._engine.scores(outputs)))
            results = [next(found) if result is None else result for result in results]
        if on_error == "raise" and any(isinstance(result, Error) for result in results):
            raise PicturesError(results)
        return results if many else results[0]

    def features(self, pictures: Picture | Pictures) -> NDArray[numpy.float32]:
        """The pooled features of a picture, before the classifier: [F]; of a list of pictures: [N,F]."""
        x, many = self._prepare(pictures)
        pooled = self._engine.run(x, True)[1]
        return pooled if many else pooled[0]

    def run(self, x: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
        """The network's output for tensors [N,C,H,W], of whatever N, as the file says; no preprocessing."""
        import numpy

        x = numpy.ascontiguousarray(x, dtype=numpy.float32)
        if x.ndim != 4:
            raise ValueError(f"x must be [N,C,H,W], not {list(x.shape)}")
        return self._engine.run(x, False)[0]

    def prepare(self, pictures: Picture | Pictures) -> NDArray[numpy.float32]:
        """Pictures as run() takes them: [N,3,size,size]; N is 1 for a single one."""
        return self._prepare(pictures)[0]

    def _prepare(self, pictures: Any) -> tuple[Any, bool]:
        import numpy

        if not isinstance(pictures, (list, tuple)):
            return self._one(pictures), False
        if not pictures:
            return numpy.zeros((0, *self.input_shape[1:]), numpy.float32), True
        return numpy.concatenate([self._one(picture) for picture in pictures]), True

    def _one(self, picture: Any) -> Any:
        import numpy

        if isinstance(picture, (str, os.PathLike)):
            return self._engine.prepare_file(_path(picture))
        if isinstance(picture, (bytes, bytearray, memoryview)):
            return self._engine.prepare_bytes(bytes(picture))
        if hasattr(picture, "convert"):  # PIL's: upright, and of 8 bits, as files are read
            from PIL import ImageOps

            try:
                picture = ImageOps.exif_transpose(picture)
                if picture.mode.startswith("I"):
                    picture = (numpy.asarray(picture).clip(0, 65535) / 257 + 0.5).astype(numpy.uint8)
                else:
                    picture = picture.convert("RGB")
            except (OSError, SyntaxError) as error:  # it reads the file as late as here
                raise Error(f"{getattr(picture, 'filename', None) or 'a PIL image'}: {error}") from error
        if not (hasattr(picture, "__array__") or hasattr(picture, "__array_interface__")):
            raise TypeError(
                f"a picture must be a path, bytes, a PIL image or an array of uint8, not {type(picture).__name__}"
            )
        pixels = numpy.asarray(picture)
        if pixels.dtype != numpy.uint8 or pixels.ndim not in (2, 3):
            raise TypeError(f"a picture must be [H,W,channels] of uint8, not {list(pixels.shape)} of {pixels.dtype}")
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        return self._engine.prepare_pixels(numpy.ascontiguousarray(pixels))

    def _likeliest(self, outputs: Any, scores: Any, top: int) -> list[Class]:
        order = (-outputs).argsort(kind="stable")[:top]  # scores may be too small to differ
        return [Class(self.class_names[k], float(scores[k]), int(k)) for k in order]

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.input_shape[1:])
        return f"<fewshift.Model {shape}, {len(self.class_names)} classes>"
