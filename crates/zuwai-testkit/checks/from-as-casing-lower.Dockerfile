from scratch as one
from scratch AS two
from scratch aS three
From scratch As four
