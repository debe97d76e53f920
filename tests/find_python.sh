#!/bin/sh
# Prints an interpreter of the given version of Python, such as 3.10, or nothing if there is none.
#
# pyenv puts a `python3.10` on the PATH that refuses to run unless that version is chosen, so a
# command counts only if it runs; failing that, pyenv itself is asked where the version is.
version=$1
found=$(command -v "python$version") && "$found" -c "" 2>/dev/null && echo "$found" && exit
command -v pyenv >/dev/null || exit 0
for name in $(pyenv versions --bare 2>/dev/null); do
  case $name in
    "$version".*)
      found=$(PYENV_VERSION=$name pyenv which "python$version" 2>/dev/null)
      [ -n "$found" ] && "$found" -c "" 2>/dev/null && echo "$found" && exit
      ;;
  esac
done
exit 0
