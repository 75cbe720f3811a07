FROM $image
COPY $never /
