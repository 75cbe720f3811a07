FROM scratch AS x
ENV foo1=1
ENV foo2=1
ENV bar=$foo3
ENV b=$Foo2 d=$fo e=$f f=$ghi g=$PAHT
ARG undeclaredX
ENV q=$undeclaredY
ENV foo1=2
ENV r=$foo3
