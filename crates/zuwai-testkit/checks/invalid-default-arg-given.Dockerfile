ARG image
ARG upper=UPPER/x
FROM $image AS a
FROM $upper AS b
