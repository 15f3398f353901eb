"""Every failure that Stentor can name, by subject; ``docs/reference/errors.md`` shows the whole tree."""

from stentor.errors.access import *
from stentor.errors.base import *
from stentor.errors.bulks import *
from stentor.errors.configuration import *
from stentor.errors.devices import *
from stentor.errors.jobs import *
from stentor.errors.requests import *
from stentor.errors.services import *
from stentor.errors.synthesis import *
from stentor.errors.voices import *
from stentor.errors.webhooks import *
