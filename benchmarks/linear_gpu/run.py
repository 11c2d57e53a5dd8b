#!/usr/bin/env python3
# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times the kernels of plan.json on this machine's GPU, next to what else is installed.

  python3 run.py [--only REGEX] [--output FILE] [--list]

Needs Python, PyTorch and the CUDA driver. Data are random. A graph holds at least 20
launches, each on another copy of the weight, together more than caches hold; the figure is
the median of 20 replays. Copy bandwidth and the peak of bf16 are measured in the same run.
Errors are the largest of any output against a product in f64 of the exact weight, over
the largest output.
"""

import argparse
import datetime
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import driver

HERE = Path(__file__).resolve().parent
ROTATED_BYTES = 240e6
LAUNCHES, REPLAYS = 20, 20


def operand_bytes(kernels: dict) -> int:
    """Bytes that a layer cannot but read and write."""
    needed = ("codes", "scales", "offsets", "x", "y")
    return sum(size for name, size in kernels["operands"].items() if name in needed)


def copies_of(bytes_: int) -> int:
    return max(2, math.ceil(ROTATED_BYTES / bytes_))


class Bench:
    """Measures on a device of torch's; what of it a test replaces has a method."""

    def __init__(self, torch, cuda, plan: dict, device: str = "cuda"):
        self.torch, self.cuda, self.plan, self.device = torch, cuda, plan, device
        self.random = torch.Generator(device).manual_seed(1)

    # --- time ---

    def stream(self) -> int:
        return self.torch.cuda.current_stream().cuda_stream

    def wait(self) -> None:
        self.torch.cuda.synchronize()

    def seconds(self, work) -> float:
        """Of one of the functions `work`, which are called in turn."""
        torch = self.torch
        work = work * math.ceil(LAUNCHES / len(work))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            work[0]()
        torch.cuda.current_stream().wait_stream(side)
        self.wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for one in work:
                one()
        times = []
        for _ in range(REPLAYS + 3):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000 / len(work))
        return statistics.median(times[3:])

    def copy_bandwidth(self) -> float:
        """Bytes a second, read and written."""
        torch = self.torch
        buffers = torch.empty(2, 1 << 28, device="cuda")
        time = self.seconds([lambda: buffers[0].copy_(buffers[1])])
        return 2 * buffers[0].numel() * 4 / time

    def peak(self) -> float:
        """Operations a second of cuBLAS in bf16, 8192 x 8192 x 8192."""
        torch, size = self.torch, 8192
        a, b = (torch.randn(size, size, device="cuda").bfloat16() for _ in range(2))
        y = torch.empty_like(a)
        return 2 * size**3 / self.seconds([lambda: torch.matmul(a, b, out=y)])

    # --- one layer ---

    def array(self, values):
        return self.torch.as_tensor(values, device=self.device)

    def plane(self, name: str, bytes_: int, scheme: dict):
        """Random bytes of a plane, and its numbers."""
        torch = self.torch
        if name == "codes" or (name == "offsets" and scheme["zero"] == "integer"):
            data = torch.randint(
                0, 256, (bytes_,), dtype=torch.uint8, device=self.device, generator=self.random
            )
            if name == "offsets":  # no zero point above the largest code
                largest = 2 ** scheme["bits"] - 1
                data &= largest | largest << 4 if scheme["bits"] <= 4 else largest
            return data, data
        type_ = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}[scheme["scale"]]
        count = bytes_ // type_.itemsize
        numbers = torch.rand(count, device=self.device, generator=self.random) * 0.01 + 0.005
        if name == "offsets":
            numbers = -numbers * (2 ** scheme["bits"] - 1) / 2
        numbers = numbers.to(type_)
        return numbers.view(torch.uint8), numbers.double()

    def measure(self, case: dict) -> dict:
        import packed
        import peers

        torch = self.torch
        kernels = driver.kernels_for(case, self.cuda.capability)
        if kernels is None:
            major, minor = self.cuda.capability
            raise driver.Error(
                f"the folder has no kernels for sm_{major}{minor}: build.py --chip=..."
            )
        m, n, k, operands = case["m"], case["n"], case["k"], kernels["operands"]
        type_ = {"f16": torch.float16, "bf16": torch.bfloat16}[case["type"]]
        x = torch.randn(m, k, device=self.device, generator=self.random).to(type_)
        y = torch.empty(m, n, device=self.device, dtype=type_)
        raw, numbers = {}, {}
        for name in ("codes", "scales", "offsets"):
            if name in operands:
                raw[name], numbers[name] = self.plane(name, operands[name], case["scheme"])
        weight = packed.dequantize(case["scheme"], numbers, n, k, self.array)
        exact = x.double() @ weight.t()

        def error(result) -> float:
            return float((result.double() - exact).abs().max() / exact.abs().max())

        workspaces = {
            name: torch.zeros(size, dtype=torch.uint8, device=self.device)
            for name, size in operands.items()
            if name not in ("x", "y", *raw)
        }
        linear = driver.Linear(self.cuda, kernels, (HERE / kernels["image"]).read_bytes())
        fixed = {name: buffer.data_ptr() for name, buffer in workspaces.items()}
        fixed |= {"x": x.data_ptr(), "y": y.data_ptr()}
        held = []

        def launcher(planes):
            held.append(planes)  # or its memory is used again
            addresses = fixed | {name: plane.data_ptr() for name, plane in planes.items()}
            return lambda: linear(addresses, self.stream())

        work = [launcher(raw)]
        work[0]()
        self.wait()
        ours = {"error": error(y)}
        count = copies_of(sum(plane.numel() for plane in raw.values()))
        work += [
            launcher({name: plane.clone() for name, plane in raw.items()}) for _ in range(count - 1)
        ]
        ours["seconds"] = self.seconds(work)
        held.clear()
        row = {"bytes": operand_bytes(kernels), "operations": 2 * m * n * k, "ours": ours}
        for name, make in peers.PEERS.items():
            try:
                row[name] = self.measure_peer(make, x, weight, case, error)
            except peers.Missing as reason:
                row[name] = {"left out": str(reason)}
            except Exception as reason:  # another program's trouble is not ours
                row[name] = {"failed": f"{type(reason).__name__}: {reason}"[:300]}
        return row

    def measure_peer(self, make, x, weight, case, error) -> dict:
        torch = self.torch
        form, product = make(torch, x, weight, case)
        found = {"error": error(product(x, *form))}
        size = sum(part.numel() * part.element_size() for part in form)
        forms = [form] + [[part.clone() for part in form] for _ in range(copies_of(size) - 1)]
        found["seconds"] = self.seconds([lambda form=form: product(x, *form) for form in forms])
        return found

    # --- the machine ---

    def about(self) -> dict:
        torch = self.torch
        query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit"
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True,
        )  # fmt: skip
        values = done.stdout.splitlines()[0].split(", ") if done.returncode == 0 else []
        return {
            "device": torch.cuda.get_device_name(),
            "capability": list(self.cuda.capability),
            "processors": torch.cuda.get_device_properties(0).multi_processor_count,
            "torch": torch.__version__,
            "date": datetime.date.today().isoformat(),
            "commit": self.plan["commit"],
            "nvidia_smi": dict(zip(query.split(","), values)),
        }


def line(name: str, row: dict, whole: dict) -> str:
    """A row as text."""
    time = row["ours"]["seconds"]
    parts = [
        f"{name:45} {time * 1e6:9.2f} us",
        f"{row['bytes'] / time / whole['copy']:6.1%} of copy",
        f"{row['operations'] / time / whole['peak']:6.1%} of peak",
        f"error {row['ours']['error']:.1e}",
    ]
    for peer, found in row.items():
        if isinstance(found, dict) and peer != "ours" and "seconds" in found:
            parts.append(
                f"{peer} {found['seconds'] * 1e6:.2f} us ({found['seconds'] / time:.2f}x, "
                f"error {found['error']:.1e})"
            )
    return ", ".join(parts)


def write(path: Path, whole: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(whole, indent=1) + "\n")
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="cases whose name matches")
    parser.add_argument("--output", type=Path, help="linear_gpu.DEVICE.json beside run.py")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args()
    plan = json.loads((HERE / "plan.json").read_text())
    cases = [case for case in plan["cases"] if re.search(options.only, case["name"])]
    if not cases:
        sys.exit(f"run.py: error: no case matches '{options.only}'; see --list")
    if options.list:
        for case in cases:
            print(f"{case['name']:45} {', '.join(case['kernels'])}")
        return
    try:
        import torch
    except ImportError as error:
        sys.exit(f"run.py: error: needs PyTorch ({error})")
    try:
        if not torch.cuda.is_available():
            raise driver.Error("no CUDA device: PyTorch sees none")
        torch.cuda.init()
        bench = Bench(torch, driver.Cuda(), plan)
        whole = {"copy": bench.copy_bandwidth(), "peak": bench.peak(), **bench.about(), "rows": {}}
        print(f"{whole['device']}: copy {whole['copy'] / 1e9:.0f} GB/s, "
              f"bf16 {whole['peak'] / 1e12:.0f} TFLOP/s", flush=True)  # fmt: skip
        device = re.sub(r"[^a-z0-9]+", "-", whole["device"].lower()).strip("-")
        output = options.output or HERE / f"linear_gpu.{device}.json"
        for case in cases:
            whole["rows"][case["name"]] = row = bench.measure(case)
            print(line(case["name"], row, whole), flush=True)
            write(output, whole)
            torch.cuda.empty_cache()
    except driver.Error as error:
        sys.exit(f"run.py: error: {error}")
    print(f"wrote {output}; to publish it: benchmarks/results/, then scripts/results render")


if __name__ == "__main__":
    main()
