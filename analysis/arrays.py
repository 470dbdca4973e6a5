"""What arrays hold, by a short name for annotations."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.intp]
Booleans = NDArray[np.bool_]
