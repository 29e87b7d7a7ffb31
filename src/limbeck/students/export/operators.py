"""What a shipped program may call: operators of ATen that compute tensors from tensors, and arithmetic of sizes.

An operator is in the list if it is a pure function (it writes to none of its arguments, draws no random numbers,
opens no file, makes no sparse, quantised or uninitialised tensor) and its CPU kernel checks what it is given. Of
some the kernels trust their caller; :data:`CHECKS` does for them what the kernels leave out.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_LISTED = """
abs.default acos.default acosh.default add.Scalar add.Tensor addcdiv.default addcmul.default addmm.default
addmv.default angle.default asin.default asinh.default atan.default atan2.default atanh.default baddbmm.default
bitwise_and.Scalar bitwise_and.Tensor bitwise_not.default bitwise_or.Scalar bitwise_or.Tensor bitwise_xor.Scalar
bitwise_xor.Tensor __and__.Scalar __and__.Tensor __or__.Scalar __or__.Tensor __xor__.Scalar __xor__.Tensor
ceil.default clamp.Tensor clamp.default clamp_max.Tensor clamp_max.default clamp_min.Tensor clamp_min.default
clip.default conj.default copysign.Scalar copysign.Tensor cos.default cosh.default div.Scalar div.Scalar_mode
div.Tensor div.Tensor_mode eq.Scalar eq.Tensor erf.default erfc.default erfinv.default exp.default exp2.default
expm1.default floor.default floor_divide.Scalar floor_divide.default fmax.default fmin.default fmod.Scalar
fmod.Tensor frac.default ge.Scalar ge.Tensor gt.Scalar gt.Tensor hypot.default imag.default isfinite.default
isinf.default isnan.default le.Scalar le.Tensor lerp.Scalar lerp.Tensor lgamma.default log.default log10.default
log1p.default log2.default logaddexp.default logical_and.default logical_not.default logical_or.default
logical_xor.default logit.default lt.Scalar lt.Tensor max.other maximum.default min.other minimum.default
mul.Scalar mul.Tensor nan_to_num.default ne.Scalar ne.Tensor neg.default polar.default positive.default
pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor real.default reciprocal.default remainder.Scalar remainder.Tensor
round.decimals round.default rsqrt.default rsub.Scalar rsub.Tensor sgn.default sign.default sin.default
sinc.default sinh.default sqrt.default square.default sub.Scalar sub.Tensor tan.default tanh.default
true_divide.Tensor trunc.default view_as_complex.default view_as_real.default xlogy.Tensor absolute.default
divide.Scalar divide.Scalar_mode divide.Tensor divide.Tensor_mode greater.Scalar greater.Tensor
greater_equal.Scalar greater_equal.Tensor less.Scalar less.Tensor less_equal.Scalar less_equal.Tensor
multiply.Scalar multiply.Tensor negative.default not_equal.Scalar not_equal.Tensor subtract.Scalar
subtract.Tensor

celu.default elu.default gelu.default glu.default hardshrink.default hardsigmoid.default hardswish.default
hardtanh.default leaky_relu.default log_sigmoid.default mish.default prelu.default relu.default relu6.default
selu.default sigmoid.default silu.default softplus.default softshrink.default threshold.default log_softmax.int
softmax.int _log_softmax.default _softmax.default _safe_softmax.default

all.default all.dim all.dims amax.default amin.default any.default any.dim any.dims argmax.default
argmin.default count_nonzero.default count_nonzero.dim_IntList cummax.default cummin.default cumprod.default
cumsum.default logcumsumexp.default logsumexp.default max.default max.dim mean.default mean.dim median.default
median.dim min.default min.dim norm.Scalar norm.ScalarOpt_dim nansum.default prod.default prod.dim_int
std.correction std.default std.dim std_mean.correction sum.default sum.dim_IntList var.correction var.default
var.dim var_mean.correction linalg_norm.default linalg_vector_norm.default histc.default argsort.default
argsort.stable sort.default sort.stable topk.default kthvalue.default nonzero.default

alias.default broadcast_to.default cat.default chunk.default clone.default concat.default
constant_pad_nd.default contiguous.default copy.default detach.default diag.default diag_embed.default
diagonal.default diagonal_scatter.default expand.default expand_as.default fill.Scalar fill.Tensor
flatten.using_ints flip.default hstack.default lift_fresh_copy.default masked_fill.Scalar masked_fill.Tensor
masked_select.default meshgrid.default meshgrid.indexing movedim.int movedim.intlist narrow.default pad.default
permute.default repeat.default repeat_interleave.self_int reshape.default roll.default rot90.default select.int
select_scatter.default slice.Tensor slice_scatter.default split.Tensor split_with_sizes.default squeeze.default
squeeze.dim squeeze.dims stack.default t.default tile.default transpose.int tril.default triu.default
type_as.default unbind.int unflatten.int unfold.default unsqueeze.default view.default view_as.default
vstack.default _reshape_copy.default _unsafe_view.default _to_copy.default to.device to.dtype to.dtype_layout
to.other resolve_conj.default pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default
im2col.default

embedding.default embedding_bag.default embedding_bag.padding_idx gather.default index.Tensor index_add.default
index_copy.default index_fill.int_Scalar index_fill.int_Tensor index_put.default index_select.default
one_hot.default scatter.src scatter.value scatter_add.default scatter_reduce.two take_along_dim.default
where.Scalar where.ScalarOther where.ScalarSelf where.default where.self bucketize.Tensor isin.Tensor_Tensor
isin.Tensor_Scalar

arange.default arange.start arange.start_step eye.default eye.m full.default full_like.default linspace.default
new_full.default new_ones.default new_zeros.default ones.default ones_like.default scalar_tensor.default
tril_indices.default triu_indices.default zeros.default zeros_like.default hann_window.default
hann_window.periodic

bilinear.default bmm.default cdist.default dot.default einsum.default inner.default linalg_cross.default
linear.default matmul.default mm.default mv.default outer.default pairwise_distance.default
scaled_dot_product_attention.default tensordot.default cosine_similarity.default

adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_avg_pool3d.default adaptive_max_pool1d.default
adaptive_max_pool2d.default adaptive_max_pool3d.default avg_pool1d.default avg_pool2d.default avg_pool3d.default
_adaptive_avg_pool2d.default _adaptive_avg_pool3d.default conv1d.default conv1d.padding conv2d.default
conv2d.padding conv3d.default conv3d.padding conv_transpose1d.default conv_transpose2d.input
conv_transpose3d.input convolution.default group_norm.default instance_norm.default layer_norm.default
max_pool1d.default max_pool2d.default max_pool2d_with_indices.default max_pool3d.default
max_pool3d_with_indices.default rms_norm.default _native_batch_norm_legit_no_training.default
_weight_norm.default gru.input lstm.input rnn_relu.input rnn_tanh.input reflection_pad1d.default
reflection_pad2d.default reflection_pad3d.default replication_pad1d.default replication_pad2d.default
replication_pad3d.default upsample_bicubic2d.vec upsample_bilinear2d.vec upsample_linear1d.vec
upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec upsample_trilinear3d.vec

fft_fft.default fft_fft2.default fft_fftn.default fft_fftshift.default fft_ifft.default fft_ifft2.default
fft_ifftn.default fft_irfft.default fft_irfft2.default fft_rfft.default fft_rfft2.default stft.center
stft.default

_local_scalar_dense.default sym_numel.default sym_size.int
"""

OPERATORS = frozenset(_LISTED.split())
"""``name.overload`` of operators in ``torch.ops.aten``."""

Number = int | float | bool


def _power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > 64:  # else a few characters could ask for a number of a million digits
        raise ValueError(f"an exponent of {exponent}")
    return base**exponent


NUMBERS: Mapping[str, Callable[..., Number]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "truediv", "neg")},
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_")},
    "pow": _power,
    "not_": operator.not_,
    "max": max,
    "min": min,
    "float": float,
    "int": int,
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "sqrt": math.sqrt,
}
"""Arithmetic of sizes, which are numbers when a program runs."""


def call_operator(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Run one of :data:`OPERATORS`; ValueError for arguments that its kernel would not check."""
    if name not in OPERATORS:
        raise ValueError(f"the operator {name!r} is not allowed")
    packet, overload = name.split(".")
    if name in CHECKS:
        CHECKS[name](*arguments, **options)
    return getattr(getattr(torch.ops.aten, packet), overload)(*arguments, **options)


def _check_bags(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> None:
    """The kernel looks at the first and the last offset alone, and takes an unknown mode for a known one."""
    _hold(weight.ndim == 2 and indices.ndim == 1 and offsets.ndim == 1 and mode in (0, 1, 2), "the bags")
    n = len(indices)
    _hold(bool(((indices >= 0) & (indices < len(weight))).all()), "the indices of the bags")
    _hold(bool(((offsets >= 0) & (offsets <= n)).all()), "the offsets of the bags")
    _hold(bool((offsets.diff() >= 0).all()), "the order of the bags")
    _hold(not include_last_offset or (len(offsets) > 0 and int(offsets[-1]) == n), "the end of the bags")
    _hold(per_sample_weights is None or per_sample_weights.shape == indices.shape, "the weights of the bags")


def _check_batch_norm(
    values: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> None:
    """The kernel reads a weight, bias, mean and variance for each channel, whether there are so many or not."""
    _hold(values.ndim >= 2, "the values of a batch norm")
    for part in (weight, bias, mean, variance):
        _hold(part is None or part.shape == values.shape[1:2], "the channels of a batch norm")


def _check_weight_norm(direction: Tensor, length: Tensor, dim: int = 0) -> None:
    """The kernel reads and writes a length for each slice, whether there are so many or not."""
    last = direction.ndim - 1
    _hold(direction.ndim >= 1 and dim in (0, last), "the axis of a weight norm")
    wanted = [direction.shape[i] if i == dim else 1 for i in range(direction.ndim)]
    _hold(list(length.shape) == wanted and length.dtype == direction.dtype, "the lengths of a weight norm")


def _check_recurrent(gates: int) -> Callable[..., None]:
    """The fast kernels take the shapes of the weights from the layer's sizes, whatever shapes they have."""

    def check(
        values: Tensor,
        state: Tensor | Sequence[Tensor],
        weights: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> None:
        what = "the weights of a recurrent layer"
        states = [state] if isinstance(state, Tensor) else list(state)
        _hold(len(states) == (2 if gates == 4 else 1) and values.ndim == 3 and not train, what)
        n_directions, n_batch = 1 + bidirectional, values.shape[0 if batch_first else 1]
        _hold(1 <= num_layers <= 1000 and states[0].ndim == 3, what)
        width = states[0].shape[-1]
        for part in states:
            _hold(part.shape == (num_layers * n_directions, n_batch, width), what)
        of_one = 4 if has_biases else 2
        _hold(len(weights) == of_one * num_layers * n_directions, what)
        for start in range(0, len(weights), of_one):
            first = start < of_one * n_directions
            inputs = values.shape[-1] if first else width * n_directions
            rows = gates * width
            wanted = [(rows, inputs), (rows, width), (rows,), (rows,)][:of_one]
            _hold([tuple(w.shape) for w in weights[start : start + of_one]] == wanted, what)
        _hold(len({part.dtype for part in (values, *states, *weights)}) == 1, what)

    return check


def _check_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """The fused kernel walks over key, value and mask by the sizes of the query."""
    what = "the shapes of an attention"
    _hold(dropout_p == 0 and min(query.ndim, key.ndim, value.ndim) >= 2, what)
    _hold(query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2], what)
    _hold(len({part.dtype for part in (query, key, value)}) == 1, what)
    if enable_gqa:
        heads = [part.shape[-3] if part.ndim >= 3 else 1 for part in (query, key, value)]
        _hold(heads[1] == heads[2] > 0 and heads[0] % heads[1] == 0, what)
    groups = [query.shape[:-2]] if enable_gqa else [part.shape[:-2] for part in (query, key, value)]
    pairs = (*torch.broadcast_shapes(*groups), query.shape[-2], key.shape[-2])
    if attn_mask is not None:
        _hold(torch.broadcast_shapes(attn_mask.shape, pairs) == pairs, what)


def _check_einsum(equation: str, tensors: Sequence[Tensor], *, path: Sequence[int] | None = None) -> None:
    """An order of the products is taken as places in a list."""
    _hold(path is None, "an order and the factors of an einsum")


def _hold(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(f"{what} do not fit together")


CHECKS: Mapping[str, Callable[..., None]] = {
    "embedding_bag.default": _check_bags,
    "embedding_bag.padding_idx": _check_bags,
    "_native_batch_norm_legit_no_training.default": _check_batch_norm,
    "_weight_norm.default": _check_weight_norm,
    "lstm.input": _check_recurrent(4),
    "gru.input": _check_recurrent(3),
    "rnn_relu.input": _check_recurrent(1),
    "rnn_tanh.input": _check_recurrent(1),
    "scaled_dot_product_attention.default": _check_attention,
    "einsum.default": _check_einsum,
}
