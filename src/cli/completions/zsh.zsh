#compdef @FILE@
# Completes @FILE@, which is asked for the words.
@FUNCTION@() {
  local -a lines candidates
  local line value program=${~words[1]}
  lines=("${(@f)$($program @ASKED@ "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
  # The program completes the value in --flag=value.
  [[ $PREFIX == --*=* ]] && compset -P '--*='
  for line in $lines; do
    [[ $line == :<-> ]] && continue
    value=${line%%$'\t'*}
    if [[ $line == *$'\t'* ]]; then
      candidates+=("${value//:/\\:}:${line#*$'\t'}")
    else
      candidates+=("${value//:/\\:}")
    fi
  done
  if (( $#candidates )); then
    _describe -t values 'value' candidates
  elif [[ $lines[-1] == :0 ]]; then
    _files
  fi
}
if [[ $funcstack[1] == _@FILE@ ]]; then
  @FUNCTION@ "$@"
else
  compdef @FUNCTION@ @FILE@
fi
