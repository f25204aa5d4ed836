"""The packages with the photos of the scenes. `python -m benchmarks.scenes` fetches them; none is committed."""

from __future__ import annotations

from tests.weights.published import Package, Published

GCOMPRIS = Package("gcompris-qt-data", "3.1-2", registry="Debian")
LOMIRI_16 = Package("lomiri-wallpapers-16.04", "20.04.0-2", registry="Debian")
LOMIRI_20 = Package("lomiri-wallpapers-20.04", "20.04.0-2", registry="Debian")
PALAPELI = Package("palapeli-data", "4:22.12.3-1", registry="Debian")
SCIKIT_LEARN = Package("scikit-learn", "1.7.2", registry="PyPI")


def photo(slug: str, package: Package, member: str, sha256: str, licence: str) -> Published:
    return Published(slug, package, sha256, licence, (member,), suffix=f".{member.rpartition('.')[2]}")


def resource(name: str, sha256: str) -> Published:
    """A file of Qt resources with photos, whose authors and licences its README lists."""
    return photo(f"gcompris-{name}", GCOMPRIS, f"usr/share/gcompris-qt/rcc/{name}.rcc", sha256, "of each photo")


FILES = {
    file.slug: file
    for file in (
        resource("explore_farm_animals", "1d17b5eb6c72b3a26aa37d6767fbeaf5a943064602c82b2d9c21ba006f748ba8"),
        resource("explore_monuments", "337878371e443f7401d4fe4798c88dde44569953bf5fa8f2738d45be4ec59ab1"),
        resource("explore_world_animals", "85599f387a1f0da48d8e9e4502e6ef1ba9e826391bc4d6feb3b1f614d2d0ebdd"),
        *(
            photo(f"lomiri-{name.partition('_by_')[0]}", package, f"usr/share/backgrounds/{name}.jpg", sha256, licence)
            for package, name, sha256, licence in (
                (
                    LOMIRI_16,
                    "Bridge_by_Sander_Klootwijk",
                    "bd86b081f9975e2b83527f71e49b9271a8ab40885428395969d9f7d834d7f050",
                    "CC-BY-SA-4.0",
                ),
                (
                    LOMIRI_16,
                    "Dragonfly_by_Bolly",
                    "af5af17841009732def24b09bb1e669a1b09d2b4bdeee7812c371101c30d2bb3",
                    "CC-BY-SA-4.0",
                ),
                (
                    LOMIRI_16,
                    "Picture_0B_by_freespace",
                    "c8c0ab18e48d9e0419fe42881112137f3afafc27dfddc29ec3a6d54c56d225ad",
                    "CC-BY-4.0",
                ),
                (
                    LOMIRI_16,
                    "Wine_by_Jakkub_Mede",
                    "d2e96e6d4da40dd804b3d0ce295e94de04a2d7d9b6785d42cd9d92ba58bced74",
                    "CC-BY-4.0",
                ),
                (
                    LOMIRI_16,
                    "free_by_Peter_Nerlich",
                    "85a5453c2fed514c75973016f3d862aca62eb7ca087618822469274ac1092373",
                    "CC-BY-SA-4.0",
                ),
                (
                    LOMIRI_16,
                    "friends_by_Aitzol_Berasategi",
                    "cc40e313c74e421edffe3403def413c16878ce14661cce7ec5915baeab35538d",
                    "CC-BY-4.0",
                ),
                (
                    LOMIRI_16,
                    "seeding_by_Clements_Engelhardt",
                    "a5634d1ab5e41a3568e92d4a894a500c92b891f9ff734e50bd224d6e185a605f",
                    "CC0-1.0",
                ),
                (
                    LOMIRI_20,
                    "Kleiber_by_Lukas_Baubkus",
                    "6572410c09f4492c74ccadde133565a14c0161617d5917d4c820c66d65a44ba7",
                    "CC-BY-SA-3.0",
                ),
            )
        ),
        photo(
            "european-honey-bee",
            PALAPELI,
            "usr/share/palapeli/collection/european-honey-bee.jpg",
            "9d54ae706bddd899c91b2b801d9ca4556a5a9a399b4043f9d539df62a8cb7f27",
            "public domain",
        ),
        photo(
            "cincinnati-bridge",
            PALAPELI,
            "usr/share/palapeli/collection/cincinnati-bridge.jpg",
            "09772d09318b34a5c5edd58ee86ff462bcd2907006f31cc8e0704310f8e9ab60",
            "public domain",
        ),
        photo(
            "china",
            SCIKIT_LEARN,
            "sklearn/datasets/images/china.jpg",
            "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
            "CC-BY-2.0",
        ),
    )
}
