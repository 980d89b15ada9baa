@projection
Feature: Projection nodes that share a stream

  Several nodes divide the stream into shards. Each shard has one owner at a time, and any
  node may be asked for any view. When nodes come and go, their shards move, and what was
  acknowledged stays in the views: once, in its order, and nothing else.

  Background:
    Given the application is "projection"

  Rule: Shards move, and nothing is lost or doubled

    Scenario: A rolling restart under load
      Given a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I keep publishing events
      When I restart NODE_1
      And 50 more events are acknowledged within 20 seconds
      And I restart NODE_2
      And 50 more events are acknowledged within 20 seconds
      And I restart NODE_3
      And 50 more events are acknowledged within 20 seconds
      Then the shards are shared out evenly within 30 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay

    Scenario: The owner of shards is killed under load
      Given a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I keep publishing events
      And 50 more events are acknowledged within 20 seconds
      When I kill NODE_2
      Then others have the shards of NODE_2 within 30 seconds
      And 50 more events are acknowledged within 20 seconds
      And every node shows every acknowledged event within 20 seconds
      When I start NODE_2
      Then the shards are shared out evenly within 30 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay

    Scenario: An owner that sleeps past its lease does no harm when it wakes up
      Given a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I keep publishing events
      And 50 more events are acknowledged within 20 seconds
      When I pause NODE_3
      Then others have the shards of NODE_3 within 30 seconds
      And 50 more events are acknowledged within 20 seconds
      When I resume NODE_3
      Then the shards are shared out evenly within 30 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay

  Rule: The server may come and go

    Scenario: NATS is killed and restarted under load
      Given a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I keep publishing events
      And 50 more events are acknowledged within 20 seconds
      When I kill NATS
      And I start NATS
      And 50 more events are acknowledged within 30 seconds
      And I restart NATS
      And 50 more events are acknowledged within 30 seconds
      Then the shards are shared out evenly within 30 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay

  Rule: What goes wrong in one place stays there

    Scenario: A poison event holds up its own key
      Given a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I publish 50 events
      When I publish an event that breaks the contract
      And I publish 3 events of the poisoned key
      And I keep publishing events
      Then the poison event is in quarantine within 20 seconds
      And every node shows every acknowledged event of all other keys within 20 seconds
      When I stop publishing events
      Then the later events of the poisoned key wait behind it within 20 seconds
      When I drop the poison event
      And I retry the poisoned key
      Then nothing is in quarantine within 10 seconds
      And every node shows every acknowledged event within 20 seconds

    Scenario: The disk of one node is full
      Given NODE_2 has a disk of 24 MiB
      And a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I keep publishing events of new keys
      And 50 more events are acknowledged within 20 seconds
      When I fill the disk of NODE_2
      Then NODE_2 is not ready within 20 seconds and says "storage:"
      And NODE_1 is ready for events within 10 seconds
      And NODE_2 is behind the stream within 10 seconds
      When I make room on the disk of NODE_2
      Then NODE_2 is ready for events within 20 seconds
      And no acknowledged event is lost or doubled

  Rule: Views are made again while they are served

    Scenario: All shards are rebuilt under load
      Given a NATS server and 3 projection nodes
      And the shards are shared out evenly within 30 seconds
      And I publish 300 events
      And I keep publishing events
      When I rebuild the views
      Then the rebuilt views are served within 30 seconds
      And 50 more events are acknowledged within 20 seconds
      And no acknowledged event is lost or doubled
      And the views are those of a clean replay
