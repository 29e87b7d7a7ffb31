"""Methods by name: those that ship, presets of them, and those that packages register."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

if TYPE_CHECKING:
    from limbeck.methods.base import Method
    from limbeck.methods.declared import Declared
    from limbeck.methods.presets import Preset

# Name to file and class.
METHODS: dict[str, str] = {
    "a2d": "limbeck.methods.features.a2d:A2D",
    "armada": "limbeck.methods.alignment.armada:ARMADA",
    "armada_writing": "limbeck.methods.alignment.armada_writing:ARMADAWriting",
    "bagkd": "limbeck.methods.bags.bagkd:BagKD",
    "binary_kd": "limbeck.methods.response.binary_kd:BinaryKD",
    "c2kd": "limbeck.methods.response.c2kd:C2KD",
    "cakd": "limbeck.methods.features.cakd:CAKD",
    "crd": "limbeck.methods.relations.crd:CRD",
    "cskd": "limbeck.methods.response.cskd:CSKD",
    "denoise": "limbeck.methods.diffusion.denoise:Denoise",
    "dhkd": "limbeck.methods.response.dhkd:DHKD",
    "dist": "limbeck.methods.response.dist:DIST",
    "divergence": "limbeck.methods.response.divergences:Divergences",
    "dkd": "limbeck.methods.response.dkd:DKD",
    "dmae": "limbeck.methods.features.dmae:DMAE",
    "dml": "limbeck.methods.online.dml:DML",
    "e2kd": "limbeck.methods.features.e2kd:E2KD",
    "factor_transfer": "limbeck.methods.features.factor_transfer:FactorTransfer",
    "feature_ot": "limbeck.methods.alignment.feature_ot:FeatureOT",
    "fitnets": "limbeck.methods.features.fitnets:FitNets",
    "hints": "limbeck.methods.features.hints:Hints",
    "info_nce": "limbeck.methods.relations.info_nce:InfoNCE",
    "kd_svd": "limbeck.methods.features.kd_svd:KDSVD",
    "l2d": "limbeck.methods.response.l2d:L2D",
    "luminet": "limbeck.methods.response.luminet:LumiNet",
    "makd": "limbeck.methods.response.makd:MaKD",
    "maps": "limbeck.methods.features.maps:Maps",
    "mean_teacher": "limbeck.methods.online.mean_teacher:MeanTeacher",
    "mixed": "limbeck.methods.views.mixed:Mixed",
    "mlld": "limbeck.methods.response.mlld:MLLD",
    "mst_distill": "limbeck.methods.response.mst:MST",
    "n_to_one": "limbeck.methods.features.n_to_one:NToOne",
    "nd": "limbeck.methods.features.nd:ND",
    "norm": "limbeck.methods.features.norm:NORM",
    "ofa_kd": "limbeck.methods.response.ofa:OFA",
    "ofd": "limbeck.methods.features.ofd:OFD",
    "ranking": "limbeck.methods.response.ranking:Ranking",
    "relations": "limbeck.methods.relations.relations:Relations",
    "reviewkd": "limbeck.methods.features.reviewkd:ReviewKD",
    "rkd": "limbeck.methods.relations.rkd:RKD",
    "sinkd": "limbeck.methods.response.sinkd:SinKD",
    "streamlined_kd": "limbeck.methods.response.streamlined:Streamlined",
    "supervised": "limbeck.methods.supervised:Supervised",
    "ted": "limbeck.methods.features.ted:TED",
    "token_relations": "limbeck.methods.features.token_relations:TokenRelations",
    "ucmkd": "limbeck.methods.alignment.ucmkd:UCMKD",
    "uld": "limbeck.methods.response.uld:ULD",
    "vid": "limbeck.methods.features.vid:VID",
    "wcord": "limbeck.methods.relations.wcord:WCoRD",
    "wsld": "limbeck.methods.response.wsld:WSLD",
}
# Name to the family whose table ``PRESETS`` holds it.
PRESETS: dict[str, str] = {
    "armada_paper_cosine": "armada",
    "armada_paper_elementwise": "armada",
    "armada_paper_euclid": "armada",
    "at": "maps",
    "cc": "relations",
    "ckd": "info_nce",
    "cutmix_pick": "mixed",
    "function_matching": "mixed",
    "ickd": "maps",
    "kd": "divergence",
    "logit_mse": "divergence",
    "logit_std": "divergence",
    "margin_mse": "ranking",
    "minilm_v2": "token_relations",
    "mix_kd": "mixed",
    "mixup_kd": "mixed",
    "nst": "maps",
    "pkt": "relations",
    "sp": "relations",
    "taid": "divergence",
    "ucmkd_official": "ucmkd",
    "ucmkd_paper": "ucmkd",
    "ucmkd_paper_fa": "ucmkd",
    "ucmkd_paper_joint": "ucmkd",
    "ucmkd_paper_la": "ucmkd",
    "wcord_global": "wcord",
    "wcord_local": "wcord",
}
GROUP = "limbeck.methods"  # entry points of packages: NAME = "package.module:Class"


@dataclass(frozen=True)
class MethodPlan:
    """A method as one run uses it; made once from the recipe and handed on."""

    name: str
    cls: type[Method]
    config: Any
    declared: Declared


def registered() -> dict[str, EntryPoint]:
    """Methods of other packages by name; one that bears the name of ours is not taken."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: entry for name, entry in found.items() if name not in METHODS and name not in PRESETS}


def method_names() -> tuple[str, ...]:
    """All names: of methods, presets and other packages' methods."""
    return (*sorted({**METHODS, **PRESETS}), *sorted(registered()))


def home_of(name: str) -> str:
    """``module:Class`` of a method or preset; UnknownNameError names the nearest."""
    if name in PRESETS:
        return METHODS[PRESETS[name]]
    if name in METHODS:
        return METHODS[name]
    others = registered()
    if name not in others:
        raise UnknownNameError(f"There is no method {name!r}; {nearest(name, method_names())}")
    return others[name].value


def method_class(name: str) -> type[Method]:
    """The class of a method; UnknownNameError names the nearest valid names."""
    module, _, cls = home_of(name).partition(":")
    return getattr(importlib.import_module(module), cls)


def preset_named(name: str) -> Preset | None:
    """The preset of that name, None for a method that is none."""
    if name not in PRESETS:
        return None
    module, _, _ = home_of(name).partition(":")
    return importlib.import_module(module).PRESETS[name]


def method_config(name: str, values: Mapping[str, Any] | None = None) -> Any:
    """The typed config of a method or preset from plain values.

    Raises: ConfigError for a key that it does not have (with the nearest), for one that a preset fixes, and for a
    value outside its type, choices or range.
    """
    given, preset = dict(values or {}), preset_named(name)
    config = method_class(name).Config
    known = [f.name for f in fields(config)]
    for key in given:
        if key not in known:
            raise ConfigError(f"Method {name!r} has no setting {key!r}; {nearest(str(key), known)}")
        if preset is not None and key in preset.fixed and given[key] != preset.fixed[key]:
            raise ConfigError(
                f"Method {name!r} is {PRESETS[name]!r} with {key}={preset.fixed[key]!r}; take {PRESETS[name]!r} to "
                "choose it."
            )
    if preset is not None:
        given = {**preset.defaults, **given, **preset.fixed}
    try:
        return config(**given)
    except ConfigError as error:  # says the setting, not whose it is
        raise ConfigError(str(error).replace("' must", f"' of method {name!r} must", 1)) from error


def plan_method(name: str, values: Mapping[str, Any] | None = None) -> MethodPlan:
    """Class, config and declarations of a method, all checked; errors as :func:`method_config`."""
    config = method_config(name, values)
    cls = method_class(name)
    return MethodPlan(name, cls, config, cls.declared(config))
