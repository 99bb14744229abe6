# Completes @FILE@, which is asked for the words.
function @FUNCTION@
    set -l before (commandline -opc)
    set -l last (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $before[1])
    set -l lines ($program @ASKED@ $before[2..-1] $last 2>/dev/null)
    # The program completes the value in --flag=value, and fish replaces the whole word.
    set -l flag (string match -r -- '^--[^=]*=' $last); or set flag ''
    set -l found (string match -vr -- '^:[0-9]+$' $lines)
    if test (count $found) -gt 0
        printf '%s\n' $flag$found
    else if test "$lines[-1]" = :0
        set -l value (string replace -r -- '^--[^=]*=' '' $last)
        set -l files (__fish_complete_path "$value")
        printf '%s\n' $flag$files
    end
end
complete -c @FILE@ -f -k -a '(@FUNCTION@)'
