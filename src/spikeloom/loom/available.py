"""Which compilers there are."""

OLDEST_TRITON = (3, 4)


def unavailable(target: str) -> str | None:
    """Why ``'numba'`` or ``'triton'`` cannot compile here."""
    try:
        if target == "triton":
            import triton

            if tuple(map(int, triton.__version__.split(".")[:2])) < OLDEST_TRITON:
                needed = ".".join(map(str, OLDEST_TRITON))
                return f"Triton {triton.__version__} is older than {needed}, which comes with PyTorch 2.8"
        else:
            from numba import config

            if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
                return "Numba's compiler is switched off (NUMBA_DISABLE_JIT)"
    except ImportError as error:
        cure = "; pip install triton" if target == "triton" else ""
        return f"{target.capitalize()} cannot be imported ({error}){cure}"
    return None
