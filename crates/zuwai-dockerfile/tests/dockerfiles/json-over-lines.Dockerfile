FROM a
CMD [ \
  "one", \
  # why
  "two \
 three" \
]
