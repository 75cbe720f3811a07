FROM a AS tools
FROM b
RUN --mount=target=. ls
RUN --mount=type=bind,from=tools,source=/bin,target=/tools,rw tools/x
RUN --mount=type=cache,id=apt-$TARGETARCH,target=/var/cache/apt,sharing=private,ro=false,uid=0,gid=0,mode=0700 apt
RUN --mount=type=tmpfs,target=/tmp,size=64m --mount=type=ssh,required --mount=type=secret,id=t,env=TOKEN make
RUN --mount="type=bind,target=/with space" --mount='type=cache,"target=/a,b"' x
RUN --mount=type=secret,src=s,dst=/s,required=true,mode=440 --mount=type=ssh,id=default,target=/agent,uid=1,gid=2 y
RUN --network=none --security=insecure --device=vendor.com/class=name,required z
RUN --network=host ["exec", "form"]
