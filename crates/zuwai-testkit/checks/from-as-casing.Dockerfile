FROM scratch as one
FROM scratch As two
FROM \
  scratch \
  as three
FROM scratch AS four
