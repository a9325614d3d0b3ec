"""The bench's modules lie in the folder above, as scripts find them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
