"""Real pages, written here: articles with menus around them, and what the web has besides."""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path

WATER = [
    "Water boils when its vapour pressure equals the pressure of the air around it. At sea level "
    "that happens at one hundred degrees, because the air presses on every square centimetre with "
    "the weight of about one kilogram.",
    "On a mountain there is less air above, so the pressure is lower and water boils sooner. Cooks "
    "in high villages know this well: potatoes take longer to become soft there, although the pot "
    "bubbles just as hard as it does in the valley.",
    "A pressure cooker does the opposite. Its lid holds the steam back until the pressure inside "
    "has doubled, and the water in it reaches one hundred and twenty degrees before it boils. At "
    "that heat beans are done in a third of the time.",
    "You can see the same law at work in a syringe. Draw up some warm water, close the opening by "
    "a finger and pull the piston: the water begins to boil in your hand, although it is far from "
    "hot. What boils is decided by pressure and heat together.",
]
BREAD = [
    "Bread rises because yeast eats the sugar in the dough and gives off a gas. The gas cannot "
    "escape, since kneading has turned the protein of the flour into a web that stretches like "
    "rubber, and so the dough fills with small bubbles.",
    "Warm dough rises faster than cold dough, because yeast works best near thirty degrees. Bakers "
    "who want more taste choose the cold way and leave the dough in a cellar overnight, when other "
    "small beings besides yeast have time to make acids.",
    "In the oven three things happen one after another. The gas expands and lifts the loaf, then "
    "the yeast dies of the heat, and at last the web of protein and starch becomes solid and keeps "
    "the shape that the bubbles gave it.",
    "The crust turns brown by a reaction between sugars and proteins that needs a dry surface and "
    "more than one hundred and forty degrees. This is why a wet loaf stays pale, and why bakers "
    "open the door near the end to let the steam out.",
]
GERMAN = [
    "Das Wasser kocht, wenn sein Dampfdruck so groß ist wie der Druck der Luft. Auf einem Berg ist "
    "dieser Druck kleiner, und deshalb kocht das Wasser dort schon bei neunzig Grad. Die Köche in "
    "den hohen Dörfern wissen das und lassen die Kartoffeln länger auf dem Herd.",
    "Ein Dampfkochtopf macht das Gegenteil. Sein Deckel hält den Dampf zurück, bis der Druck im "
    "Innern doppelt so groß ist. Dann wird das Wasser hundertzwanzig Grad heiß, und Bohnen sind "
    "in einem Drittel der Zeit weich.",
    "Man kann dasselbe Gesetz auch mit einer Spritze zeigen, die mit warmem Wasser gefüllt ist.",
]


def page(title: str, paragraphs: list[str], charset: str = "utf-8") -> str:
    """An article among a menu, advertisements and a footer."""
    body = "\n".join(f"<p>{text}</p>" for text in paragraphs)
    links = "".join(f'<li><a href="/{name}">{name}</a></li>' for name in ("home", "shop", "login"))
    return (
        f'<!doctype html><html><head><meta charset="{charset}"><title>{title}</title>'
        "<script>var tracking = {on: true};</script></head>"
        f'<body><nav><ul>{links}</ul></nav><div class="ad">Buy now! Click here!</div>'
        f"<article><h1>{title}</h1>\n{body}</article>"
        "<footer>We use cookies. All rights reserved.</footer></body></html>"
    )


def article(seed: int, paragraphs: int = 4) -> list[str]:
    """An article like no other: what boils and rises, told in another order with other numbers."""
    chance = random.Random(seed)
    places = ["Oslo", "Lima", "Pune", "Accra", "Quito", "Bergen", "Turin", "Kyoto", "Cork", "Fez"]
    things = [
        "kettle",
        "oven",
        "cellar",
        "garden",
        "river",
        "workshop",
        "mill",
        "harbour",
        "school",
    ]
    verbs = ["warms", "cools", "rises", "turns", "settles", "dries", "hardens", "opens", "grows"]
    reasons = ["the air is damp", "the wind is weak", "the stone holds heat", "salt draws water"]
    told = []
    for _ in range(paragraphs):
        told.append(
            " ".join(
                f"In {chance.choice(places)} the {chance.choice(things)} {chance.choice(verbs)} "
                f"after {chance.randrange(2, 400)} minutes because {chance.choice(reasons)}, and "
                f"that is how the people of the {chance.choice(things)} near "
                f"{chance.choice(places)} came to measure it with "
                f"{chance.choice(['a glass', 'a rope', 'a scale', 'a drum', 'their hands'])}."
                for _ in range(3)
            )
        )
    return told


def warc(path: Path, pages: list[tuple[str, bytes, str]], *, gzip: bool = True) -> list[int]:
    """Write responses (URL, body, content type) as a web archive; where each record begins."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    starts = []
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=gzip)
        for url, body, media in pages:
            headers = StatusAndHeaders("200 OK", [("Content-Type", media)], protocol="HTTP/1.1")
            starts.append(file.tell())
            writer.write_record(
                writer.create_warc_record(
                    url,
                    "response",
                    payload=BytesIO(body),
                    http_headers=headers,
                    warc_headers_dict={"WARC-Date": "2026-01-01T00:00:00Z"},
                )
            )
    return starts
