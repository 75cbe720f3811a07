FROM a
COPY <<index.html <<"raw.sh" plain /usr/share/
<h1>$title</h1>
index.html
#!/bin/sh
echo $0
raw.sh
COPY --chown=1:1 --chmod=755 <<-"EOF" /entrypoint.sh
	#!/bin/sh
		exec "$@"
	EOF
ADD <<EMPTY /empty
EMPTY
COPY 3<<FD /fd
x
FD
COPY ["<<NOT", "/x"]
COPY <<A <<A /d/
first
A
second
A
