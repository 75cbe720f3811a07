FROM scratch
COPY <<EOF /x
$here and ${there}
EOF
COPY <<"EOF" /x
$quoted
EOF
COPY <<A <<'B' <<-C /
$in_a
A
$in_b
B
	\$escaped $in_c
	C
RUN <<EOF
$in_run
EOF
