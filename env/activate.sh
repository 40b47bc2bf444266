# Sourced by every job: makes the environment that the file named by SHARDMILL_ENV_FILE describes (see cluster.example.env), and
# does nothing when that is not set. The file's lines are data and are never run. After a fault: one line on stderr, status 1.

_shardmill_error() {
  printf 'shardmill: %s\n' "$*" >&2
  return 1
}

# The file's values, into the caller's array `value`.
_shardmill_read() {
  local file=$1 line number=0 key text
  [[ -f $file && -r $file ]] || { _shardmill_error "SHARDMILL_ENV_FILE: there is no readable file $file"; return; }
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    [[ -z $line || $line == '#'* ]] && continue
    [[ $line =~ ^([A-Z_]+)=(.*)$ ]] || { _shardmill_error "$file line $number: this is not KEY=value"; return; }
    key=${BASH_REMATCH[1]} text=${BASH_REMATCH[2]}
    [[ $text =~ ^\"(.*)\"$ || $text =~ ^\'(.*)\'$ ]] && text=${BASH_REMATCH[1]}
    case $key in
      BASE_DIR | VENV | CONDA_ENV | CONDA_ROOT | TMP_DIR | PIP_CACHE_DIR | HF_HOME | HF_TOKEN_FILE | OPENAI_API_KEY_FILE)
        [[ $text != *'<'*'>'* ]] || { _shardmill_error "$file line $number: $key is still a placeholder"; return; }
        [[ $key == BASE_DIR || -z $text || $text == /* ]] || text=${value[BASE_DIR]:-}/$text
        ;;
      MODULES | HF_HUB_OFFLINE) ;;
      *) _shardmill_error "$file line $number: there is no key $key"; return ;;
    esac
    value[$key]=$text
  done < "$file"
}

_shardmill_modules() {
  local init names
  read -r -a names <<< "$1"
  if ! type module > /dev/null 2>&1; then
    for init in "${MODULESHOME:-}/init/bash" /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh; do
      [[ -r $init ]] && source "$init" && break
    done
  fi
  type module > /dev/null 2>&1 || { _shardmill_error "MODULES: there is no 'module' command on $HOSTNAME"; return; }
  module load "${names[@]}" || _shardmill_error "MODULES: 'module load $1' failed on $HOSTNAME"
}

_shardmill_python() {
  local venv=$1 conda_env=$2 conda_root=$3
  if [[ -n $venv ]]; then
    [[ -r $venv/bin/activate ]] || { _shardmill_error "VENV: $venv is not a venv, as seen from $HOSTNAME"; return; }
    source "$venv/bin/activate" || _shardmill_error "VENV: $venv could not be activated"
  elif [[ -n $conda_env ]]; then
    [[ -d $conda_env/conda-meta ]] || { _shardmill_error "CONDA_ENV: $conda_env is not a conda environment, as seen from $HOSTNAME"; return; }
    [[ -r $conda_root/etc/profile.d/conda.sh ]] || { _shardmill_error "CONDA_ROOT: there is no conda in '$conda_root'"; return; }
    source "$conda_root/etc/profile.d/conda.sh" && conda activate "$conda_env" || _shardmill_error "CONDA_ENV: $conda_env could not be activated"
  elif [[ -z ${SHARDMILL_CONTAINER:-} ]]; then
    _shardmill_error "VENV and CONDA_ENV are both missing"
  fi
}

_shardmill_folder() {
  mkdir -p -m "$3" -- "$2" 2> /dev/null && [[ -w $2 ]] || _shardmill_error "$1: cannot write to the folder $2 on $HOSTNAME"
}

_shardmill_token() {
  local file=$1 mode token
  [[ -f $file && -r $file ]] || { _shardmill_error "HF_TOKEN_FILE: there is no readable file by that name on $HOSTNAME"; return; }
  mode=$(stat -L -c %A -- "$file")
  [[ ${mode:4} != *r* ]] || printf 'shardmill: HF_TOKEN_FILE can be read by others; run: chmod 600 on it\n' >&2
  token=$(< "$file")
  token=${token//[[:space:]]/}
  [[ -n $token ]] || { _shardmill_error "HF_TOKEN_FILE is empty"; return; }
  export HF_TOKEN=$token
}

_shardmill_activate() {
  local -A value=()
  _shardmill_read "$SHARDMILL_ENV_FILE" || return 1
  [[ -z ${value[MODULES]:-} ]] || _shardmill_modules "${value[MODULES]}" || return 1
  _shardmill_python "${value[VENV]:-}" "${value[CONDA_ENV]:-}" "${value[CONDA_ROOT]:-}" || return 1
  if [[ -n ${value[TMP_DIR]:-} ]]; then
    export SHARDMILL_NODE_CACHE=${value[TMP_DIR]}
    export TMPDIR=${value[TMP_DIR]}/shardmill-${SLURM_JOB_ID:-$$}
    _shardmill_folder TMP_DIR "$TMPDIR" 700 || return 1
  fi
  if [[ -n ${value[PIP_CACHE_DIR]:-} ]]; then
    export PIP_CACHE_DIR=${value[PIP_CACHE_DIR]}
    _shardmill_folder PIP_CACHE_DIR "$PIP_CACHE_DIR" 755 || return 1
  fi
  if [[ -n ${value[HF_HOME]:-} ]]; then
    export HF_HOME=${value[HF_HOME]}
    [[ -d $HF_HOME ]] || { _shardmill_error "HF_HOME: there is no folder $HF_HOME on $HOSTNAME"; return; }
  fi
  if [[ ${value[HF_HUB_OFFLINE]:-0} == 1 ]]; then
    export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1
  fi
  [[ -z ${value[HF_TOKEN_FILE]:-} ]] || _shardmill_token "${value[HF_TOKEN_FILE]}" || return 1
  [[ -z ${value[OPENAI_API_KEY_FILE]:-} ]] || export OPENAI_API_KEY_FILE=${value[OPENAI_API_KEY_FILE]}
  if [[ -z ${OMP_NUM_THREADS:-} && -n ${SLURM_CPUS_PER_TASK:-} ]]; then
    export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
  fi
}

if [[ -n ${SHARDMILL_ENV_FILE:-} ]]; then
  # No trace, since it would show the token; and what conda and modules bring along is not written for `set -u`.
  { _shardmill_options=$-; set +xu; } 2> /dev/null
  if _shardmill_activate; then _shardmill_status=0; else _shardmill_status=1; fi
  unset -f _shardmill_error _shardmill_read _shardmill_modules _shardmill_python _shardmill_folder _shardmill_token _shardmill_activate
  if [[ $_shardmill_options == *u* ]]; then set -u; fi
  if [[ $_shardmill_options == *x* ]]; then set -x; fi
  return "$_shardmill_status"
fi
