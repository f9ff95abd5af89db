"""The errors that users see. A message states the rule, the value that broke it and the cure."""


class LTX2Error(ValueError):
    """A value, graph or setting that breaks a rule: what must hold; what was got; what to do."""


class ModelFileError(LTX2Error):
    """A model file that cannot be used where it was chosen: which file, what it is, what is needed."""


# Hosts print the class with its module; "ltx2.LTX2Error" reads better in a log than a path into a pack's folder.
for _error in (LTX2Error, ModelFileError):
    _error.__module__ = "ltx2"

#: What a RuntimeError says where memory ran out: CUDA's libraries and the CPU's allocator have no class of their own.
OUT_OF_MEMORY = (
    "out of memory",
    "DefaultCPUAllocator",
    "ALLOC_FAILED",  # CUBLAS_STATUS_ and CUDNN_STATUS_
    "ALLOCATION_FAILED",  # newer cuDNN: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no room for what it works in
    "unable to find an engine to execute",  # of a convolution: none had room
)
