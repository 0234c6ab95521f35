import pytest
import torch


@pytest.fixture(autouse=True)
def double():
    """Numbers are float64 unless a test says otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
