"""Runs a SavedModel through TensorFlow's C interface, as a server does: no Python of TensorFlow's.

    python saved_model_runner.py FOLDER REQUESTS.npz ANSWERS.npz

REQUESTS holds arrays named `<request>|<fetched tensors, comma-separated>|<fed tensor>`; ANSWERS
gets `<request>|<fetched tensor>`.
"""

import ctypes
import importlib.util
import pathlib
import sys

import numpy as np

DTYPES = {1: "float32", 3: "int32", 4: "uint8", 10: "bool"}  # of tensorflow/c/tf_datatype.h
NUMBERS = {np.dtype(name): number for number, name in DTYPES.items()}


class Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Library:
    """The few functions of the C interface that are needed, with their result types."""

    def __init__(self):
        (folder,) = importlib.util.find_spec("tensorflow").submodule_search_locations
        self.library = ctypes.CDLL(str(pathlib.Path(folder) / "libtensorflow_cc.so.2"))
        self.status = self.call("TF_NewStatus")

    def call(self, name, *arguments, result=ctypes.c_void_p):
        function = getattr(self.library, name)
        function.restype = result
        return function(*arguments)

    def check(self):
        if self.call("TF_GetCode", ctypes.c_void_p(self.status), result=ctypes.c_int):
            message = self.call("TF_Message", ctypes.c_void_p(self.status), result=ctypes.c_char_p)
            raise RuntimeError(message.decode())

    def load(self, folder):
        self.graph = ctypes.c_void_p(self.call("TF_NewGraph"))
        self.session = ctypes.c_void_p(
            self.call(
                "TF_LoadSessionFromSavedModel",
                ctypes.c_void_p(self.call("TF_NewSessionOptions")),
                None,
                folder.encode(),
                (ctypes.c_char_p * 1)(b"serve"),
                1,
                self.graph,
                None,
                ctypes.c_void_p(self.status),
            )
        )
        self.check()

    def run(self, feeds, fetches):
        inputs = (Output * len(feeds))(*map(self.output, feeds))
        values = (ctypes.c_void_p * len(feeds))(*map(self.to_tensor, feeds.values()))
        outputs = (Output * len(fetches))(*map(self.output, fetches))
        results = (ctypes.c_void_p * len(fetches))()
        sizes = [ctypes.c_int(len(feeds)), ctypes.c_int(len(fetches))]
        self.call(
            "TF_SessionRun",
            *(self.session, None, inputs, values, sizes[0], outputs, results, sizes[1]),
            *(None, 0, None, ctypes.c_void_p(self.status)),
            result=None,
        )
        self.check()
        return [self.to_array(ctypes.c_void_p(tensor)) for tensor in results]

    def output(self, name):
        operation, index = name.split(":")
        found = self.call("TF_GraphOperationByName", self.graph, operation.encode())
        if not found:
            raise RuntimeError(f"no operation {operation}")
        return Output(found, int(index))

    def to_tensor(self, array):
        array = np.asarray(array, order="C")  # keeps scalars scalars
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self.call(
            "TF_AllocateTensor",
            *(NUMBERS[array.dtype], shape, array.ndim, ctypes.c_size_t(array.nbytes)),
        )
        data = self.call("TF_TensorData", ctypes.c_void_p(tensor))
        ctypes.memmove(data, array.ctypes.data, array.nbytes)
        return tensor

    def to_array(self, tensor):
        dtype = DTYPES[self.call("TF_TensorType", tensor, result=ctypes.c_int)]
        rank = self.call("TF_NumDims", tensor, result=ctypes.c_int)
        shape = [self.call("TF_Dim", tensor, i, result=ctypes.c_int64) for i in range(rank)]
        size = self.call("TF_TensorByteSize", tensor, result=ctypes.c_size_t)
        data = self.call("TF_TensorData", tensor)
        return np.frombuffer(ctypes.string_at(data, size), dtype).reshape(shape)


def main(folder, requests, answers):
    library = Library()
    library.load(folder)
    feeds = {}
    for key, value in np.load(requests).items():
        request, fetched, fed = key.split("|")
        feeds.setdefault((request, fetched), {})[fed] = value
    results = {}
    for (request, fetched), values in feeds.items():
        names = fetched.split(",")
        for name, value in zip(names, library.run(values, names), strict=True):
            results[f"{request}|{name}"] = value
    np.savez(answers, **results)
    imported = {"tensorflow", "keras", "tfgen"} & set(sys.modules)
    if imported:
        raise RuntimeError(f"must run without {imported}")


if __name__ == "__main__":
    main(*sys.argv[1:])
