-- Messages that no try could deal with. They stay until somebody sends them again or forgets them.

create table pgflow.dead_letters (
  dead_letter_id bigint generated always as identity,
  queue text not null,
  msg_id bigint not null,                    -- what it was called there; the archive of the queue still has it
  read_ct int not null,
  enqueued_at timestamptz not null,
  died_at timestamptz not null,
  message jsonb,
  headers jsonb,
  error_type text not null,
  error_message text not null,
  traceback text,
  worker_id uuid,
  constraint dead_letters_pkey primary key (dead_letter_id)
);
create index idx_dead_letters_queue on pgflow.dead_letters (queue, dead_letter_id);
