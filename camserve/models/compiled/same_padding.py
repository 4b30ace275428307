"""TensorFlow's SAME padding, which depends on the size of the map."""

from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]


class SamePad2d(nn.ConstantPad2d):
    """Pads a map so that a window gives cells / stride cells, rounded up; an odd cell of padding is added at the end.

    kernel, stride, dilation: of that window, (y, x). fill: value of the padding. is_lower: the odd cell comes first.
    """

    def __init__(self, kernel: Pair, stride: Pair, dilation: Pair, fill: float, *, is_lower: bool = False) -> None:
        super().__init__(0, fill)
        self.kernel, self.stride, self.dilation, self.is_lower = kernel, stride, dilation, is_lower

    def same_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Cells (left, right, top, bottom) around a map of that size."""
        (top, bottom), (left, right) = self._ends(height, 0), self._ends(width, 1)
        return left, right, top, bottom

    def _ends(self, side: int, axis: int) -> Pair:
        stride, reach = self.stride[axis], self.dilation[axis] * (self.kernel[axis] - 1)
        if stride == 1:
            total = reach
        elif reach + 1 >= stride:  # no branch on the size, so that a traced graph works for every size
            total = reach - (side - 1) % stride
        else:
            total = max((-(-side // stride) - 1) * stride + reach + 1 - side, 0)
        small, large = total // 2, total - total // 2
        return (large, small) if self.is_lower else (small, large)

    def forward(self, input: Tensor) -> Tensor:
        """(N, K, H, W) -> the same with more rows and columns."""
        return F.pad(input, self.same_padding(input.shape[-2], input.shape[-1]), value=self.value)
