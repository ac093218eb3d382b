"""Which device and which precision a model gets when the user leaves the choice to us."""

from __future__ import annotations

from pathlib import Path

import torch

from ultraedit.core.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Instruction sets that multiply bfloat16, x86 then ARM, as `torch.cpu.get_capabilities` names
them. Without one of them bfloat16 is emulated and slower than float32."""

_CPU_FAST_BFLOAT16 = ("amx_bf16", "bf16", "sve_bf16")
"""Those of them that multiply matrices of bfloat16 faster than of float32. AVX-512's took 1.8 times
as long as float32 (LOG.md, 27 November 2026)."""


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there.

    Args:
        name: The user's choice. ``auto`` takes the first CUDA device, else the CPU.

    Raises:
        ConfigError: If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"Unknown device {name!r}: give auto, cpu, cuda, cuda:N or mps."
        ) from error
    if device.type == "cpu":
        return device
    if device.type == "cuda" and (device.index or 0) < torch.cuda.device_count():
        return device
    if device.type == "mps" and torch.backends.mps.is_available():
        return device
    raise ConfigError(
        f"The device {name!r} is not usable here (CUDA devices: {torch.cuda.device_count()}). "
        "Give `auto` to take what there is."
    )


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn ``auto`` or the name of a dtype into a dtype that `device` computes with.

    Args:
        name: ``auto``, ``float32``, ``bfloat16`` or ``float16``. ``auto`` is bfloat16 where the
            device computes it natively and float32 elsewhere.
        device: Where the model will run.

    Raises:
        ConfigError: If the name is unknown, or is float16 on a CPU.
    """
    if name == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}: give auto, {', '.join(DTYPES)}.")
    if name == "float16" and device.type == "cpu":
        raise ConfigError(
            "float16 is slow and overflows on a CPU: give float32 or bfloat16, or choose a GPU."
        )
    return DTYPES[name]


def computes_bfloat16(device: torch.device) -> bool:
    """Tell whether `device` multiplies bfloat16 without emulating it."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_has(_CPU_BFLOAT16)


def is_faster_in_float32(device: torch.device) -> bool:
    """Tell whether `device` is a CPU that multiplies float32 faster than bfloat16."""
    return device.type == "cpu" and not _cpu_has(_CPU_FAST_BFLOAT16)


def _cpu_has(names: tuple[str, ...]) -> bool:
    # Older versions of torch cannot tell, and float32 is right everywhere.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in names)


def free_bytes(device: torch.device) -> int | None:
    """Memory of a device that nobody uses; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines if ":" in line)
    available = sizes.get("MemAvailable")
    return None if available is None else int(available.split()[0]) * 1024
