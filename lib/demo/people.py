"""The people of the demo: names and e-mails, some of them hostile on purpose."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

_FIRST = (
    "Aisha Amelia Andrei Anna Arjun Bao Bella Carlos Chen Chloe Daniel Deepa Diego Elena Emily Farah Fatima "
    "Felix Grace Haruto Hassan Hiroshi Ines Isaac Ivan Jamal James Jia Jonas Julia Kavya Kenji Khalid Laila "
    "Lars Leah Lim Linh Lucas Maria Mateo Mei Mia Mina Mohammed Nadia Noah Nora Olga Omar Oscar Priya Quang "
    "Rafael Ravi Rina Rosa Sana Sara Sofia Tariq Thea Tomas Uma Vera Victor Wei William Xin Yara Yuki Yusuf "
    "Zara Zoe"
)
_LAST = (
    "Abbas Ahmed Ali Andersson Bauer Becker Brown Castro Chan Chua Costa Das Devi Fernandez Fischer Garcia "
    "Goh Gomez Gupta Haddad Hansen Hassan Ito Ivanova Jansen Johnson Joshi Kaur Khan Kim Kumar Lee Lim Lopez "
    "Martin Meyer Mishra Moreau Muller Nair Nguyen Novak Ng Okafor Olsen Ong Park Patel Pereira Petrov Pham "
    "Pillai Rahman Rao Reyes Rossi Santos Sato Schmidt Sharma Silva Singh Smith Suzuki Tan Teo Tran Wagner "
    "Walker Wang Weber Wong Yamamoto Yilmaz Zhang"
)
DOMAINS = ("mail.test", "mail.test", "mail.test", "example.org", "example.com")

HOSTILE = (
    ("mallory.ho", "<img src=x onerror=alert(1)>"),
    ("=sum", '=HYPERLINK("http://refund.mail.test","Refund")'),
    ("+15550100", "Task timed out after 3.00 seconds"),
    ("gpj.exe", "Anna \u202egpj.exe"),
    ('o\'brien."q"', ":red[**Sean**] ![x](http://mail.test/x.png)"),
    ("report", "REPORT RequestId: 0 Duration: 1.00 ms"),
)
"""Local parts and names that browsers, spreadsheets, terminals and log parsers are known to fall for."""


@dataclass(frozen=True)
class Person:
    """Somebody who signs up; most apps ask for no name."""

    email: str
    name: str | None = None


def people(rng: random.Random) -> Iterator[Person]:
    """Yield people without end, no two with the same e-mail in any spelling."""
    firsts, lasts = _FIRST.split(), _LAST.split()
    taken: set[str] = set()
    while True:
        first, last = rng.choice(firsts), rng.choice(lasts)
        local = rng.choice((f"{first}.{last}", f"{first}{last}", f"{first[0]}.{last}", f"{first}.{last[0]}")).lower()
        number = rng.choice(("", "", str(rng.randrange(1, 100)), str(rng.randrange(1960, 2009))))
        email = f"{local}{number}@{rng.choice(DOMAINS)}"
        if email not in taken:
            taken.add(email)
            yield Person(email, f"{first} {last}" if rng.random() < 0.25 else None)
