"""Configs with two faces: the vendor's names on disk, the names of transformers in memory."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar, Self

from xtune.errors import ModelError

NOT_WRITTEN = {"vendor", "architectures", "transformers_version", "_name_or_path", "rope_parameters", "auto_map"}
"""What transformers adds or rewrites: the vendor's own values are kept on disk."""


class VendorConfig:
    """Put before a config class of transformers: reads a vendor's config.json and writes it back.

    `vendor` is the vendor's config.json as it was read. What is written is that, with the settings that were changed
    since under the vendor's names; so `architectures` and `auto_map` stay, and the vendor's own code reads it.
    """

    names: ClassVar[dict[str, str]] = {}
    """The vendor's name of a setting -> that of transformers. Of two for one setting, the later is the usual one."""
    required: ClassVar[dict[str, Any]] = {}
    """Settings with the one value that the vendor's checkpoints have; another would be another model."""
    vendor: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **options: Any) -> Self:
        """Raises ModelError where a setting asks for what this family's models do not have."""
        written_by_us = "vendor" in config_dict  # by to_dict, which has the native names
        return super().from_dict(config_dict if written_by_us else cls.native(config_dict), **options)  # type: ignore[misc]

    @classmethod
    def native(cls, vendor: dict[str, Any]) -> dict[str, Any]:
        """The settings of a vendor's config.json under the names of transformers."""
        for name, only in cls.required.items():
            if (value := vendor.get(name, only)) != only:
                raise ModelError(
                    f"{cls.__name__}: unsupported setting: got {name} = `{value}`", f"only {only!r} is known"
                )
        settings = {name: deepcopy(value) for name, value in vendor.items() if name not in cls.names}
        settings |= {native: deepcopy(vendor[name]) for name, native in cls.names.items() if name in vendor}
        settings.pop("attn_implementation", None)  # InternLM2 ships "eager"; the loader chooses
        cls.translate(settings)
        return {**settings, "vendor": deepcopy(vendor)}

    @classmethod
    def translate(cls, settings: dict[str, Any]) -> None:
        """Changes, in place, what renaming alone does not translate."""

    def to_diff_dict(self) -> dict[str, Any]:
        """What config.json holds."""
        if self.vendor is None:
            return super().to_diff_dict()  # type: ignore[misc]
        read = type(self)(**self.native(self.vendor)).to_dict()  # type: ignore[attr-defined]
        now = self.to_dict()  # type: ignore[attr-defined]
        changed = {key: value for key, value in now.items() if key not in NOT_WRITTEN and read.get(key) != value}
        written = {name: value for key, value in changed.items() for name in self._written_as(key)}
        return {**self.vendor, "model_type": self.model_type, **written}  # type: ignore[attr-defined]

    def _written_as(self, native: str) -> list[str]:
        """Every name that the vendor's file has for a setting; the usual one where it has none."""
        names = [vendor for vendor, name in {**self.names, "torch_dtype": "dtype"}.items() if name == native]
        present = [name for name in [*names, native] if name in (self.vendor or {})]
        return present or [names[-1] if names else native]
