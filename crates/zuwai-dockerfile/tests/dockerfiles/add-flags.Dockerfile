FROM a
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/a.tar.gz /
ADD --keep-git-dir=true --link https://github.com/example/repo.git#v1:sub /src
ADD --unpack --chown=1:2 --chmod=644 --exclude=x a.tar /b/
ADD --unpack=false a.tar /b/
ADD a b c /d/
