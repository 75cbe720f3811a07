FROM a
RUN <<A <<B
a
A
b
B
ENV x=<<EOF
CMD cat <<EOF
