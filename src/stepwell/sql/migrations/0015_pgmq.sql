-- How often a task was read as a message of its flow's queue (functions/flow_messages.sql): pgmq's read_ct.
alter table pgflow.step_tasks add column read_ct int not null default 0;

-- Flows whose new tasks are announced to listeners of their queue (pgmq/notify.sql).
create table pgflow.announced (
  flow_slug text not null,
  constraint announced_pkey primary key (flow_slug)
);
