"""One table from the folders of golden vectors to the functions of the library.

An adapter takes the parameters of a case and its inputs by name, and returns the scalar that the case stores. It
only renames and composes; where it does more, a comment says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.layers import Review

Adapter = Callable[[dict[str, Any], dict[str, Tensor]], Tensor]

# (folder, case name) -> why no correct implementation can meet it.
EXEMPT: dict[tuple[str, str], str] = {}

# folder -> (stored value, prefix of the stored gradients), where it is not ("out", "grad.").
EXPECTED: dict[str, tuple[str, str]] = {
    "sinkhorn_divergence": (
        "out_converged",
        "grad_converged.",
    ),  # geomloss itself stops short of its fixed point
}

# folder -> tolerances in float64 that replace those of the cases; the reason stands beside it.
TOLERANCE: dict[str, dict[str, float]] = {
    # those of the cases suit geomloss; against the fixed point the notes of the vectors ask for these
    "sinkhorn_divergence": {"rtol": 1e-6, "atol": 1e-9, "grad_rtol": 1e-5, "grad_atol": 1e-8},
}

# Fixed points, which float32 cannot resolve below marginals of about 1e-6: there the direction of the gradient counts.
ITERATED = {"sinkhorn", "unbalanced_ot"}

# ---------------------------------------------------------------- divergences


def kd_kl(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.distillation_kl(x["student_logits"], x["teacher_logits"], temperature=p["T"])


def kd_ce_mix(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    alpha, temperature = p["alpha"], p["T"]
    kl = L.distillation_kl(x["student_logits"], x["teacher_logits"], temperature=temperature)
    if alpha == 0:  # there the reference returns the bare KL: its value jumps by the factor beta T^2
        return kl / temperature**2
    beta = 1 - alpha if p["beta"] is None else p["beta"]
    return alpha * F.cross_entropy(x["student_logits"], x["labels"]) + beta * kl


def kd_soft_ce(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    temperature = x["temperature"][:, None] if "temperature" in x else p["T"]
    probs = F.softmax(x["teacher_logits"] / temperature, -1)
    return L.soft_cross_entropy(x["student_logits"] / temperature, probs)


def fitnet_hint(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s = x["student"]
    if p["regressor"] == "linear":
        s = F.linear(s, x["weight"], x["bias"])
    elif p["regressor"] == "convreg":
        s = _convolved(s, x["teacher"].shape[-1], x["weight"], x["bias"])
        s = F.relu(F.batch_norm(s, None, None, x["bn_weight"], x["bn_bias"], training=True, eps=1e-5))
    return L.hint_mse(s, x["teacher"])


def _convolved(s: Tensor, size_t: int, weight: Tensor, bias: Tensor) -> Tensor:
    if s.shape[-1] == 2 * size_t:
        return F.conv2d(s, weight, bias, stride=2, padding=1)
    if 2 * s.shape[-1] == size_t:
        return F.conv_transpose2d(s, weight, bias, stride=2, padding=1)
    return F.conv2d(s, weight, bias)


def ucmkd_la(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    head = x["teacher_head_weight"], x["teacher_head_bias"]
    return L.label_alignment(
        x["student_logits"],
        x["student"],
        head,
        x["labels"],
        variant=f"official_{p['kind']}",
        label_smoothing=p["smoothing"],
    )


def _by_token(kind: str, p: dict[str, Any], x: dict[str, Tensor], reduction: str = "mean") -> Tensor:
    """The fused divergence of given logits: they are hidden states under an identity head."""
    s, t = x["student_logits"], x["teacher_logits"]
    one = torch.eye(s.shape[-1], dtype=s.dtype)
    return L.fused_linear_divergence(
        s, one, t, one, kind=kind, beta=p.get("beta", 0.5), temperature=p.get("T", 1.0), labels=x.get("labels"),
        reduction=reduction, chunk=4,
    )  # fmt: skip


def gkd_jsd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    total = _by_token("jsd", p, x, "sum")
    logits, labels = x["student_logits"], x.get("labels")
    if "num_items" in p:
        return total / p["num_items"]
    if p["reduction"] == "sum":
        return total
    count = len(logits) if labels is None else max(int((labels != -100).sum()), 1)
    if p["reduction"] == "mean":  # the reference also divides by the vocabulary
        count = (logits[..., 0].numel() if labels is None else count) * logits.shape[-1]
    return total / count


def reverse_kl_tokens(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return _by_token("reverse_kl", p, x)


def forward_kl_tokens(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    kept = x["labels"] != -100  # a cross entropy, for all its name
    return L.soft_cross_entropy(x["student_logits"][kept], x["teacher_logits"][kept].softmax(-1))


def fused_linear_jsd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    weight_s, bias_s = x["student_weight"], x.get("student_bias")
    missing = len(x["teacher_weight"]) - len(weight_s)
    if missing:  # the reference gives words that the student lacks the logit 0
        weight_s = F.pad(weight_s, (0, 0, 0, missing))
    soft = L.fused_linear_divergence(
        x["student_input"], weight_s, x["teacher_input"], x["teacher_weight"], kind="jsd", beta=p["beta"],
        temperature=p["T"], labels=x["labels"], bias_s=bias_s, bias_t=x.get("teacher_bias"),
        chunk=min(p["chunk"], 5),
    )  # fmt: skip
    if p["hard"] == 0:
        return p["soft"] * soft
    logits = F.linear(x["student_input"], weight_s, bias_s)
    return p["hard"] * F.cross_entropy(logits, x["labels"]) + p["soft"] * soft


def _labelled(x: dict[str, Tensor]) -> Tensor:
    return x["labels"] != -100


def kd_mse(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    temperature = x["temperature"][:, None] if "temperature" in x else p["T"]
    return L.divergence(x["student_logits"] / temperature, x["teacher_logits"] / temperature, kind="mse")


def kd_dense(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = (x[name].movedim(1, -1) for name in ("student_logits", "teacher_logits"))
    return L.divergence(s, t, temperature=p["T"])


def tvd_tokens(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.divergence(x["student_logits"], x["teacher_logits"], kind="tv", mask=_labelled(x))


def skew_forward_kl(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t, kept = x["student_logits"], x["teacher_logits"], _labelled(x)
    entropy = L.soft_cross_entropy(t[kept], t[kept].softmax(-1))  # a cross entropy, for all its name
    return L.divergence(s, t, kind="skew", beta=p["lam"], mask=kept) + entropy


def taid(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    """Its ``out``; the steps of t (``t_trace``) are not a loss."""
    s, kept = x["student_logits"], _labelled(x)
    target = L.interpolated_logits(s, x["teacher_logits"], p["t"])
    return L.soft_cross_entropy(s[kept], target[kept].softmax(-1))


def dkd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.decoupled_kl(
        x["student_logits"],
        x["teacher_logits"],
        x["labels"],
        weight_target=p["alpha"],
        weight_rest=p["beta"],
        temperature=p["T"],
    )


def logit_std_kd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = (L.standardised_logits(x[name]) for name in ("student_logits", "teacher_logits"))
    return L.divergence(s, t, temperature=p["T"])


def cwd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = (
        x[name].flatten(2) for name in ("student", "teacher")
    )  # a distribution over the positions of a channel
    return p["w"] * L.divergence(s, t, temperature=p["tau"])


# ---------------------------------------------------------------- maps and features


def _pooled(s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The larger map at the size of the smaller; the references look at the height alone."""
    if s.shape[2] > t.shape[2]:
        return F.adaptive_avg_pool2d(s, t.shape[2]), t
    return s, F.adaptive_avg_pool2d(t, s.shape[2]) if t.shape[2] > s.shape[2] else t


def at(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = _pooled(x["student"], x["teacher"])
    variant = {"code": "official", "paper": "paper"}[p["mode"]]
    return L.attention_transfer(s, t, power=p["p"], variant=variant)


def vid(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = _pooled(x["student"], x["teacher"])
    mean = F.conv2d(F.conv2d(F.conv2d(s, x["w1"]).relu(), x["w2"]).relu(), x["w3"])
    return L.variational_nll(mean, t, x["log_scale"], eps=p["eps"])


def norm_n_to_one(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = (z.flatten(2).mean(2) if z.dim() == 4 else z for z in (x["student"], x["teacher"]))
    return L.many_to_one(F.linear(s, x["expand_weight"]), t)


def hidden_mse(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = x["student"], x["teacher"]
    kept = x["mask"] != 0 if "mask" in x else ...
    return L.hint_mse(s[kept], t[kept])


def hidden_cosine(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.hint_gap(x["student"], x["teacher"], mask=x.get("mask"))


def embed_distill(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    if p["metric"] == "mse":
        return L.hint_mse(x["student"], x["teacher"])
    kind = {"l2": "distance", "cosine": "cosine"}[p["metric"]]
    return L.hint_gap(x["student"], x["teacher"], kind=kind)


# ---------------------------------------------------------------- relations between samples, contrast


def rkd_distance(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return p["w"] * L.rkd_distance(x["student"], x["teacher"])


def rkd_angle(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return p["w"] * L.rkd_angle(x["student"], x["teacher"])


def sp(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.similarity_preserving(x["student"], x["teacher"])


def sp_l1(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    mean = L.similarity_preserving(x["student"], x["teacher"], norm="l1")
    return mean if p["reduction"] == "batchmean" else mean * len(x["student"]) ** 2


def cc_delta(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.correlation_congruence(x["student"], x["teacher"], kernel="consecutive")


def crd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    parts = []
    for i, (side, other) in enumerate((("student", "teacher"), ("teacher", "student"))):
        v = F.normalize(F.linear(x[side], x[side + "_weight"], x[side + "_bias"]), dim=1)
        z = None if p["Z"] is None else p["Z"][i]
        memory = x["memory_" + other]
        parts.append(L.noise_contrast(v, memory, x["index"], temperature=p["T"], normaliser=z))
    return parts[0] + parts[1]


# ---------------------------------------------------------------- kernels, lines, moments, similarity


def mmd_rbf(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.mmd(
        x["student"],
        x["teacher"],
        bandwidth=p["sigmas"],
        unbiased=p["unbiased"],
        weights_s=x.get("a"),
        weights_t=x.get("b"),
    )


def wasserstein_1d(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.wasserstein_1d(x["student"], x["teacher"], p=p["p"], weights_s=x.get("a"), weights_t=x.get("b"))


def bures_wasserstein(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    if p["input"] == "samples":
        return L.mean_cov_bures(x["student"], x["teacher"], squared=p["squared"])
    return L.bures_wasserstein(x["mean_s"], x["cov_s"], x["mean_t"], x["cov_t"], squared=p["squared"])


def coral(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.coral(x["student"], x["teacher"])


def cka_linear(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.cka(x["student"], x["teacher"], kernel=p["kernel"], unbiased=p["unbiased"])


def distance_correlation(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.distance_correlation(x["student"], x["teacher"])


def procrustes(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    kind = p["kind"].removesuffix("_raw")
    return L.procrustes(x["student"], x["teacher"], kind=kind, centre=kind == p["kind"])


# ---------------------------------------------------------------- transport


def _weights(x: dict[str, Tensor]) -> dict[str, Tensor | None]:
    return {"weights_s": x.get("a"), "weights_t": x.get("b")}


def _to_the_limit(x: dict[str, Tensor]) -> dict[str, Any]:
    """The vectors hold fixed points; float32 cannot resolve marginals beyond about 1e-6."""
    return {"tol": 1e-12 if x["student"].dtype == torch.float64 else 1e-4, "max_iter": 20000}


def sinkhorn(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.transport_cost(
        x["student"], x["teacher"], cost=p["metric"], reg=p["reg"], **_weights(x), **_to_the_limit(x)
    )


def ucmkd_fa(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    """Defined by its number of sweeps, converged or not, and differentiated through them."""
    cost = {"l2": "euclidean"}.get(p["metric"], p["metric"])
    return L.transport_cost(
        x["student"], x["teacher"], cost=cost, reg=p["reg"], gradient="unrolled", max_iter=p["iters"]
    )


def sinkhorn_divergence(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    result = L.sinkhorn_divergence(
        x["student"],
        x["teacher"],
        p=p["p"],
        blur=p["blur"],
        debias=p["debias"],
        **_weights(x),
        **_to_the_limit(x),
    )
    assert isinstance(result, Tensor)
    return result


def unbalanced_ot(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    settings = _to_the_limit(x)
    if p["kind"] == "mm":  # no entropy; its steps converge slowly, and the move of one is far below the error
        tol = 1e-14 if x["student"].dtype == torch.float64 else 1e-6
        settings = settings | {"reg": 0, "penalty": p["div"], "tol": tol}
    else:
        settings = settings | {"reg": p["reg"]}
    result = L.unbalanced_transport_cost(
        x["student"],
        x["teacher"],
        marginal=p["reg_m"],
        cost=p["metric"],
        value={"linear": "sharp", "total": "dual"}[p["cost"]],
        **_weights(x),
        **settings,
    )
    assert isinstance(result, Tensor)
    return result


def emd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.exact_transport_cost(x["student"], x["teacher"], cost=p["metric"], **_weights(x))


def sinkd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.sinkd(x["student_logits"], x["teacher_logits"])


# ---------------------------------------------------------------- labels beside the teacher


def wsld(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = x["student_logits"], x["teacher_logits"]
    return p["w"] * L.weighted_soft_labels(s, t, x["labels"], temperature=p["T"])


def ofa(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t = x["student_logits"], x["teacher_logits"]
    return L.enhanced_target(s, t, x["labels"], gamma=p["eps"], temperature=p["T"], variant="official")


def c2kd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    """Both sides learn: each from its proxy, each proxy from its side and, where they agree, from the other proxy."""
    proxies = x["student_proxy_logits"], x["teacher_proxy_logits"]
    mask, total = L.kendall_tau(*proxies) > p["krc"], x["student_logits"].new_zeros(())
    for side, proxy, other in zip((x["student_logits"], x["teacher_logits"]), proxies, reversed(proxies)):
        total = total + F.cross_entropy(side, x["labels"])
        total = total + L.distillation_kl(side, proxy) + L.distillation_kl(proxy, side)
        total = total + L.non_target_kl(proxy, other, x["labels"], mask=mask, variant="official")
    return total


def skd_direction(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.direction_gap(x["student_logits"], x["teacher_logits"], ridge=p["lam"])


# ---------------------------------------------------------------- tokens


def _sparse(kind: str, p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    s, t, mask = x["student_logits"], p["T"], _labelled(x) if "labels" in x else None
    factor = t**2 if kind == "tv" else 1.0  # a share has none here
    if "teacher_logits" in x:
        return factor * L.divergence(s, x["teacher_logits"], kind=kind, temperature=t, mask=mask)
    rest = "one_bin" if p.get("missing") == "symmetric_uniform" else "renormalised"
    return factor * L.sparse_divergence(
        s, x["ids"], x["values"], kind=kind, rest=rest, temperature=t, temperature_t=p.get("Tgen", 1.0),
        variant="distillkit", mask=mask,
    )  # fmt: skip


def logistic_ranking(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    probs = x["values"].exp() if p.get("log_values", True) else x["values"]
    kept = x["student_logits"].gather(-1, x["ids"])
    return L.pair_ranking(kept, probs, mask=_labelled(x) if "labels" in x else None)


def uld(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    masks = [_predicting(x[name], p["skip_eos"]) for name in ("labels", "teacher_labels")]
    return p["w"] * L.sorted_l1(
        x["student_logits"], x["teacher_logits"], mask_s=masks[0], mask_t=masks[1], temperature=p["Ts"],
        temperature_t=p["Tt"], over_tokens="mean",
    )  # fmt: skip


def _predicting(labels: Tensor, skip_last: bool) -> Tensor:
    """The positions whose logits predict an answer: one before each of its tokens."""
    answer = (labels != -100).to(torch.int64)
    if skip_last:
        answer = answer * (answer.flip(1).cumsum(1).flip(1) > 1)
    return F.pad(answer[:, 1:], (0, 1))


def minillm(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    """The step's own part; there is no T^2. What comes after is in ``OTHERS``."""
    s, t, temperature = x["student_logits"], x["teacher_logits"], p["T"]
    return L.divergence(s / temperature, t / temperature, kind="reverse_kl", mask=_labelled(x))


def margin_mse(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.margin_mse((x["docs"] @ x["query"][:, :, None])[:, :, 0], x["teacher_scores"])


def attention_mse(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    heads = {"mse": "each", "mse_sum": "sum"}[p["kind"]]
    return L.attention_mse(x["student"], x["teacher"], heads=heads, mask=x.get("mask"), variant="textbrewer")


def attention_ce(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    heads = {"ce": "each", "ce_mean": "mean"}[p["kind"]]
    return L.attention_cross_entropy(
        x["student"], x["teacher"], heads=heads, mask=x.get("mask"), variant="textbrewer"
    )


def gram_sequence(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    between = {"fsp": "features", "mmd": "tokens"}[p["kind"]]
    ours, theirs = ((x[side + "0"], x[side + "1"]) for side in ("student", "teacher"))
    return L.flow_gap(ours, theirs, between=between, mask=x.get("mask"))


# ---------------------------------------------------------------- factors, channels, stages


def kta(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    variant = (
        "torchdistill" if p["reduction"] == "mean" else "paper"
    )  # its sum over elements is that of the paper
    return L.normalised_gap(
        x["student"], x["teacher"], p=p["p"], q=p.get("q", 2), variant=variant, reduction=p["reduction"]
    )


def factor_transfer(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    if p["variant"] == "paper":
        return kta(p, x)
    s, t = _pooled(x["student"], x["teacher"])  # maps of attention in the place of factors
    if p["p2"] == 2:
        return L.attention_transfer(s, t, power=p["p1"], variant="official")
    s, t = (z.pow(p["p1"]).mean(1) for z in (s, t))
    return L.normalised_gap(s, t, p=p["p2"], variant="torchdistill")


def channel_similarity(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    # the reference divides by the number of rows twice
    return p["w"] * L.channel_similarity(x["student"], x["teacher"]) / len(x["student"])


def ofd(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    margin = L.margin_of_normal(x["bn_bias"], x["bn_weight"])
    return L.partial_squares(x["student"], x["teacher"], margin)


def reviewkd_hcl(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    return L.pyramid_mse(x["student"], x["teacher"])


def reviewkd_abf(p: dict[str, Any], x: dict[str, Tensor]) -> Tensor:
    ours, theirs = ([x[f"{side}{i}"] for i in range(p["stages"])] for side in ("student", "teacher"))
    review = Review([z.shape[1] for z in ours], [z.shape[1] for z in theirs], d_middle=p["mid"])
    given = {
        name: x[f"abf{i}.{theirs}"]
        for i in range(p["stages"])
        for name, theirs in (
            (f"stages.{i}.enter.0.weight", "conv1.weight"), (f"stages.{i}.enter.1.weight", "bn1.weight"),
            (f"stages.{i}.enter.1.bias", "bn1.bias"), (f"stages.{i}.leave.0.weight", "conv2.weight"),
            (f"stages.{i}.leave.1.weight", "bn2.weight"), (f"stages.{i}.leave.1.bias", "bn2.bias"),
            (f"stages.{i}.shares.weight", "att.weight"), (f"stages.{i}.shares.bias", "att.bias"),
        )
        if f"abf{i}.{theirs}" in x
    }  # fmt: skip
    sizes = [z.shape[2:] for z in theirs]
    made = torch.func.functional_call(review.to(ours[0].dtype), given, (ours, sizes))
    return torch.stack([L.pyramid_mse(s, t) for s, t in zip(made, theirs)]).sum()


# ---------------------------------------------------------------- the table

ADAPTERS: dict[str, Adapter] = {
    "kd_kl": kd_kl,
    "kd_ce_mix": kd_ce_mix,
    "kd_soft_ce": kd_soft_ce,
    "fitnet_hint": fitnet_hint,
    "ucmkd_la": ucmkd_la,
    "gkd_jsd": gkd_jsd,
    "reverse_kl_tokens": reverse_kl_tokens,
    "forward_kl_tokens": forward_kl_tokens,
    "fused_linear_jsd": fused_linear_jsd,
    "mmd_rbf": mmd_rbf,
    "wasserstein_1d": wasserstein_1d,
    "bures_wasserstein": bures_wasserstein,
    "coral": coral,
    "cka_linear": cka_linear,
    "distance_correlation": distance_correlation,
    "procrustes": procrustes,
    "sinkhorn": sinkhorn,
    "ucmkd_fa": ucmkd_fa,
    "sinkhorn_divergence": sinkhorn_divergence,
    "unbalanced_ot": unbalanced_ot,
    "emd": emd,
    "sinkd": sinkd,
    "kd_mse": kd_mse,
    "kd_dense": kd_dense,
    "tvd_tokens": tvd_tokens,
    "skew_forward_kl": skew_forward_kl,
    "taid": taid,
    "dkd": dkd,
    "logit_std_kd": logit_std_kd,
    "cwd": cwd,
    "at": at,
    "vid": vid,
    "norm_n_to_one": norm_n_to_one,
    "rkd_distance": rkd_distance,
    "rkd_angle": rkd_angle,
    "sp": sp,
    "sp_l1": sp_l1,
    "cc_delta": cc_delta,
    "crd": crd,
    "hidden_mse": hidden_mse,
    "hidden_cosine": hidden_cosine,
    "embed_distill": embed_distill,
    "dkd_overflow": dkd,
    "skew_forward_kl_underflow": skew_forward_kl,
    "wsld": wsld,
    "ofa": ofa,
    "c2kd": c2kd,
    "skd_direction": skd_direction,
    "sparse_kl": partial(_sparse, "forward_kl"),
    "sparse_tvd": partial(_sparse, "tv"),
    "logistic_ranking": logistic_ranking,
    "uld": uld,
    "minillm": minillm,
    "margin_mse": margin_mse,
    "attention_mse": attention_mse,
    "attention_ce": attention_ce,
    "gram_sequence": gram_sequence,
    "kta": kta,
    "factor_transfer": factor_transfer,
    "channel_similarity": channel_similarity,
    "ofd": ofd,
    "reviewkd_hcl": reviewkd_hcl,
    "reviewkd_abf": reviewkd_abf,
}


# ---------------------------------------------------------------- what is stored beside the value


def c2kd_parts(p: dict[str, Any], x: dict[str, Tensor]) -> dict[str, Tensor]:
    s, t = x["student_proxy_logits"], x["teacher_proxy_logits"]
    tau = L.kendall_tau(s, t)
    parts = (
        L.non_target_kl(a, b, x["labels"], mask=tau > p["krc"], variant="official")
        for a, b in ((s, t), (t, s))
    )
    names = "part_nontarget_student", "part_nontarget_teacher"
    return {"kendall_tau": tau, "mask": tau > p["krc"], **dict(zip(names, parts))}


def minillm_returns(p: dict[str, Any], x: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = _labelled(x)
    index = torch.where(kept, x["labels"], 0)[..., None]
    chosen = [
        (x[name] / p["T"]).log_softmax(-1).gather(-1, index)[..., 0]
        for name in ("student_logits", "teacher_logits")
    ]
    found = L.discounted_returns(
        chosen[0], chosen[1], mask=kept, gamma=p["gamma"], by_length=p["length_norm"], variant="trl"
    )
    return {"advantages": found}


OTHERS: dict[str, Callable[[dict[str, Any], dict[str, Tensor]], dict[str, Tensor]]] = {
    "c2kd": c2kd_parts,
    "minillm": minillm_returns,
    "ofd": lambda p, x: {"margin": L.margin_of_normal(x["bn_bias"], x["bn_weight"])},
}
