import ctypes
import os

import lit.formats

config.name = "quant-opt"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "python", "install"]
config.test_source_root = os.path.dirname(__file__)

path = [os.path.join(config.build_dir, "bin"), config.llvm_tools_dir,
        config.environment.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(path)
# Small machines, small tests: no test wins by more threads.
config.environment["OMP_NUM_THREADS"] = "2"

# The shared models and texts that stand beside the project, if they do.
shared = os.path.join(config.source_dir, os.pardir, "shared", "data")
if os.path.isdir(shared):
    config.available_features.add("shared-data")
else:
    lit_config.note("no shared/data beside the project: tests on real models "
                    "are SKIPPED")
config.substitutions.append(("%shared", shared))
config.substitutions.append(
    ("%fake-cuda", os.path.join(config.build_dir, "lib", "fake-cuda")))
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    config.available_features.add("no-cuda")
config.substitutions.append(("%examples",
                             os.path.join(config.source_dir, "examples")))
config.substitutions.append(
    ("%plugin", os.path.join(config.build_dir, "lib", "libQuantOptPlugin.so")))
