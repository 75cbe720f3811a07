FROM scratch
COPY a \

 b \

  c \
# a comment is no blank line

  d
COPY a \
   
 b
COPY a \
# only a comment
 b
RUN <<EOF

a blank line in a here-document \

EOF
