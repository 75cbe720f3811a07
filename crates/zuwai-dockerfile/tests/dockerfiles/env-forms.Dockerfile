FROM a
ENV simple value with  spaces
ENV tab	value
ENV a=b c="d e" f='g h' i=j\ k l="m\"n" o='p"q'r
ENV long="one \
  two" \
    next=three
ENV empty= quoted="" equals=a=b=c
ENV dollar=\$x braces=${a:-${b:-c}} both="${a}"'${b}'
ENV path=/opt/bin:$PATH
ENV legacy "quoted value" rest
ENV ключ=значение emoji=🦀
