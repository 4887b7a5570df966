-- Who did what to a run, a queue, a flow or a schedule. It outlives what it is about.

create table pgflow.audit (
  audit_id bigint generated always as identity,
  at timestamptz not null,
  actor text not null,
  action text not null,
  kind text not null,
  target text not null,
  run_id uuid,
  detail jsonb,
  constraint audit_pkey primary key (audit_id)
);
create index idx_audit_run on pgflow.audit (run_id, audit_id) where run_id is not null;
