#  SYNTAX = docker/dockerfile:1.7-labs  
# Escape=`
# check = skip = JSONArgsRecommended , NoEmptyContinuation ; error=false; experimental=all
FROM mcr.microsoft.com/windows/servercore:ltsc2025
SHELL ["powershell", "-Command"]
RUN Write-Host `
    'C:\dir' `
    $env:PATH
COPY file C:\target\
ENV p="a`"b" q=`$x r=C:\new
