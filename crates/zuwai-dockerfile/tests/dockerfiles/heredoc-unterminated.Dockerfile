FROM a
RUN <<EOF
echo a
 EOF
RUN b
