# Completes @FILE@, which is asked for the words.
@FUNCTION@() {
  local words last begun head lines line directive i breaks=
  # The words as they were typed: bash splits its own at colons and signs of equality.
  read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
  [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
  last=${words[${#words[@]} - 1]}
  # The program completes the value in --flag=value.
  begun=$last
  [[ $last == --*=* ]] && begun=${last#*=}
  # bash replaces only what follows the last of its separators.
  for i in = : @; do
    [[ $COMP_WORDBREAKS == *$i* ]] && breaks+=$i
  done
  head=
  [[ -n $breaks ]] && head=${begun%"${begun##*[$breaks]}"}
  COMPREPLY=()
  lines=$("${1/#\~\//$HOME/}" @ASKED@ "${words[@]:1}" 2>/dev/null) || return
  directive=${lines##*$'\n'}
  while IFS= read -r line; do
    [[ $line == :[0-9]* || -z $line ]] || COMPREPLY+=("${line%%$'\t'*}")
  done <<<"$lines"
  for i in "${!COMPREPLY[@]}"; do
    COMPREPLY[i]=${COMPREPLY[i]#"$head"}
    [[ $last == --*=* && $breaks != *=* ]] && COMPREPLY[i]=${last%%=*}=${COMPREPLY[i]}
  done
  if [[ $directive == :0 && ${#COMPREPLY[@]} == 0 ]]; then
    compopt -o default 2>/dev/null
  fi
}
complete -F @FUNCTION@ @FILE@
