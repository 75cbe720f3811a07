# café
FROM a
RUN b \
  # déjà vu
  c
