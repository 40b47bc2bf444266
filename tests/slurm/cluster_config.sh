# shellcheck shell=bash disable=SC2154 # read by cluster.sh, whose settings it uses
# Writes the configuration of the test cluster: slurm.conf, gres.conf, and for accounting slurmdbd.conf and MariaDB's.

write_config() {
    local host
    host=$(hostname -s)
    cat >"$CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((PORT + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits; 120 s if not set.
AuthInfo=socket=$DIR/run/munge.socket,cred_expire=$REQUEUE
StateSaveLocation=$DIR/ctld
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmdPidFile=$DIR/run/slurmd-%n.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd-%n.log
MailProg=/bin/true
MpiDefault=none

# The nodes share one host, which may have no cgroup to give.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
$([ "$MEMKILL" = 1 ] && printf 'JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=task=1\nJobAcctGatherParams=OverMemoryKill' \
        || echo JobAcctGatherType=jobacct_gather/none)
# The nodes declare more CPUs and memory than this host has.
SlurmdParameters=config_overrides

SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,batch_sched_delay=0,sched_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Without it a job that asks for no memory takes the whole node's.
DefMemPerCPU=256
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PriorityType=priority/basic
JobRequeue=1
MaxArraySize=$MAXARRAY
MaxJobCount=$((MAXARRAY * 4))
MinJobAge=$MINJOBAGE

# Failures are noticed soon.
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=15
MessageTimeout=20
KillWait=5
InactiveLimit=0
WaitTime=0
CompleteWait=0

NodeName=n[1-$NODES] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((PORT + 11))-$((PORT + 10 + NODES))] CPUs=$CPUS RealMemory=$MEM Gres=gpu:$GPUS State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefaultTime=60 PriorityTier=100 PreemptMode=OFF State=UP
PartitionName=spot Nodes=ALL MaxTime=INFINITE DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 State=UP
PartitionName=spotkill Nodes=ALL MaxTime=INFINITE DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 State=UP
END
    # Flags: without it, other makers' variables are set too.
    echo "NodeName=n[1-$NODES] Name=gpu Flags=nvidia_gpu_env File=$DIR/dev/nvidia[0-$((GPUS - 1))]" >"$DIR/etc/gres.conf"
    if [ "$ACCT" = 1 ]; then write_accounting_config; else echo AccountingStorageType=accounting_storage/none >>"$CONF"; fi
}

write_accounting_config() {
    # The password is the socket of munge: sacct and slurmctld do not use AuthInfo to reach slurmdbd.
    cat >>"$CONF" <<END
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 2))
AccountingStoragePass=$DIR/run/munge.socket
AccountingStorageTRES=gres/gpu
END
    (umask 077 && cat >"$DIR/etc/slurmdbd.conf") <<END
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 2))
SlurmUser=root
PidFile=$DIR/run/slurmdbd.pid
LogFile=$DIR/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 3))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
END
    # Its data need not outlive a crash.
    cat >"$DIR/etc/my.cnf" <<END
[mariadbd]
user=root
datadir=$DIR/db
socket=$DIR/run/mariadb.sock
pid-file=$DIR/run/mariadb.pid
log-error=$DIR/log/mariadb.log
port=$((PORT + 3))
bind-address=127.0.0.1
skip-log-bin
skip-name-resolve
performance-schema=off
innodb-buffer-pool-size=64M
innodb-log-file-size=16M
innodb-lock-wait-timeout=900
innodb-flush-log-at-trx-commit=0
innodb-doublewrite=0
max-allowed-packet=16M
END
    cat >"$DIR/etc/init.sql" <<END
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
END
}
