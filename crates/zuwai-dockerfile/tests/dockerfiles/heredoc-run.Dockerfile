FROM a
RUN <<EOF
set -e
echo "hello" # kept
# kept too

EOF
RUN <<-'END'
	tabs are	removed at the front
	  spaces are not
	END
RUN <<'ONE' cat && cat <<"TWO" > /x
1 $a
ONE
2 \
TWO
RUN python3 <<EOF
#!/usr/bin/env python3
print("RUN not an instruction")
EOF
RUN <<EOF
#!/usr/bin/env python3
print(1)
EOF
RUN echo "no <<HERE here" 'nor <<THERE'
RUN echo $((1 << 2)) $((1<<2)) <<<word
RUN --mount=type=cache,target=/c <<EOF
x
EOF
