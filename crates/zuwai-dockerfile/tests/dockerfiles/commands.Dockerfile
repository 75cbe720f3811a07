FROM a
CMD
ENTRYPOINT
CMD echo $HOME "quoted  spaces"   
ENTRYPOINT ["x"]
RUN
RUN -- --not-a-flag
